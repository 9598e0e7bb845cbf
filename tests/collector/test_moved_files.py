"""A raw file is moved, compressed or removed while the collector writes to it."""

import asyncio
from pathlib import Path

import pytest

from collector_api import room
from collector_api.commits import Committer
from collector_api.disk import Disk
from collector_api.metrics import CollectorMetrics
from flywheel_core.errors import RequestError
from tests.collector.committing import DAY, BadDisk, code_of, held, run, store


def test_a_file_that_is_moved_away_is_not_written_on(tmp_path: Path) -> None:
    path = tmp_path / "raw" / "training_data_20260105.jsonl"

    async def work(committer: Committer, disk: BadDisk) -> None:
        await store(committer, DAY, b"first\n")
        path.rename(tmp_path / "moved")
        await store(committer, DAY, b"second\n")
        path.unlink()
        await store(committer, DAY, b"third\n")

    run(tmp_path, work)
    assert (tmp_path / "moved").read_bytes() == b"first\n"
    assert path.read_bytes() == b"third\n"


@pytest.mark.parametrize("before", [b"first\n", None])
def test_a_file_that_goes_during_a_commit_acknowledges_nothing(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "raw" / "training_data_20260105.jsonl"

    async def work(committer: Committer, disk: BadDisk) -> None:
        if before:
            await store(committer, DAY, before)
        task = await held(committer, disk)
        path.unlink()
        path.write_bytes(b"another's\n")
        disk.gate.set()
        assert await code_of(task) == "storage_unavailable"
        await store(committer, DAY, b"again\n")

    run(tmp_path, work)
    assert path.read_bytes() == b"another's\n"
    assert path.with_name("training_data_20260105.1.jsonl").read_bytes() == b"again\n"


@pytest.mark.parametrize("made_anew", [False, True])
def test_what_stands_where_the_data_folder_was_is_not_written_to(tmp_path: Path, made_anew: bool) -> None:
    """What is stored in the mount point of an unmounted disk becomes invisible once the disk is back."""
    raw = tmp_path / "raw"

    async def work(committer: Committer, disk: BadDisk) -> None:
        await store(committer, DAY, b"first\n")
        raw.rename(tmp_path / "unmounted")
        if made_anew:
            raw.mkdir()
        for _ in range(2):
            stored = asyncio.create_task(store(committer, DAY, b"lost\n", [b"aside\n"]))
            assert await code_of(stored) == "storage_unavailable"
            with pytest.raises(RequestError, match="could not be stored"):
                await committer.check_ready()
        assert not raw.exists() or not list(raw.iterdir())
        if made_anew:
            raw.rmdir()
        (tmp_path / "unmounted").rename(raw)
        await store(committer, DAY, b"second\n")

    run(tmp_path, work)
    found = b"".join(path.read_bytes() for path in sorted(raw.glob("training_data_*")))
    assert sorted(found.split()) == [b"first", b"second"]
    assert list((tmp_path / "rejected").iterdir()) == []


def test_the_log_tells_once_that_the_data_folder_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise every request would add a log line, on a disk that may fill up next."""
    caplog.set_level("INFO")
    monkeypatch.setattr(room, "_LOOK_SECONDS", 0.0)
    folder = tmp_path / "raw"
    looked = room.Room(Disk(), folder, 0, CollectorMetrics())
    for _ in range(3):
        with pytest.raises(RequestError):
            looked.check()
    folder.mkdir()
    looked.check()
    looked.check()
    assert [one.message for one in caplog.records] == ["free_space_unknown", "free_space_known_again"]
