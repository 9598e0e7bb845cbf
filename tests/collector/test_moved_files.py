"""Raw files, or the folder that holds them, are moved, replaced or deleted while the collector is writing."""

import asyncio
from pathlib import Path

import pytest

from collector_api import room
from collector_api.commits import Committer
from collector_api.disk import Disk
from collector_api.metrics import CollectorMetrics
from flywheel_core.errors import RequestError
from tests.collector.committing import DAY, BadDisk, code_of, held, run, store


def test_a_file_that_was_moved_or_deleted_is_not_written_to_again(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("failing_writes", [0, 1])
@pytest.mark.parametrize("before", [b"first\n", None])
def test_a_commit_whose_file_is_replaced_meanwhile_is_not_acknowledged(
    tmp_path: Path, before: bytes | None, failing_writes: int
) -> None:
    path = tmp_path / "raw" / "training_data_20260105.jsonl"

    async def work(committer: Committer, disk: BadDisk) -> None:
        if before:
            await store(committer, DAY, before)
        task = await held(committer, disk)
        path.unlink()
        path.write_bytes(b"another's\n")
        disk.fail["write"] = failing_writes
        disk.gate.set()
        assert await code_of(task) == "storage_unavailable"
        await store(committer, DAY, b"again\n")

    run(tmp_path, work)
    assert path.read_bytes() == b"another's\n"
    assert path.with_name("training_data_20260105.1.jsonl").read_bytes() == b"again\n"


@pytest.mark.parametrize("made_anew", [False, True])
def test_nothing_is_written_where_the_data_folder_used_to_be(tmp_path: Path, made_anew: bool) -> None:
    """Unmounting a disk leaves an empty mount point; files written there would be hidden once the disk is back."""
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


def test_a_missing_data_folder_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise every request would log a line, onto a disk that may be the next to fill up."""
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
