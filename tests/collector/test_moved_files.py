"""Somebody moves, packs or removes a raw file while the collector writes to it."""

from pathlib import Path

import pytest

from collector_api.commits import Committer
from tests.collector.committing import DAY, BadDisk, code_of, held, run


def test_a_file_that_is_moved_away_is_not_written_on(tmp_path: Path) -> None:
    path = tmp_path / "raw" / "training_data_20260105.jsonl"

    async def work(committer: Committer, disk: BadDisk) -> None:
        await committer.store(DAY, b"first\n")
        path.rename(tmp_path / "moved")
        await committer.store(DAY, b"second\n")
        path.unlink()
        await committer.store(DAY, b"third\n")

    run(tmp_path, work)
    assert (tmp_path / "moved").read_bytes() == b"first\n"
    assert path.read_bytes() == b"third\n"


@pytest.mark.parametrize("before", [b"first\n", None])
def test_a_file_that_goes_during_a_commit_acknowledges_nothing(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "raw" / "training_data_20260105.jsonl"

    async def work(committer: Committer, disk: BadDisk) -> None:
        if before:
            await committer.store(DAY, before)
        task = await held(committer, disk)
        path.unlink()
        path.write_bytes(b"another's\n")
        disk.gate.set()
        assert await code_of(task) == "storage_unavailable"
        await committer.store(DAY, b"again\n")

    run(tmp_path, work)
    assert path.read_bytes() == b"another's\n"
    assert path.with_name("training_data_20260105.1.jsonl").read_bytes() == b"again\n"
