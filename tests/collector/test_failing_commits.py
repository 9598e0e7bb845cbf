"""Commits on a disk that fails or is full: nothing is acknowledged, and the collector recovers by itself."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector_api import room
from collector_api.commits import Committer
from collector_api.metrics import CollectorMetrics
from flywheel_core.errors import RequestError
from tests.collector.committing import (
    DAY,
    BadDisk,
    code_of,
    names,
    run,
    store,
)


@pytest.mark.parametrize("call", ["write", "sync"])
def test_after_a_failure_nothing_is_acknowledged_and_a_fresh_file_begins(tmp_path: Path, call: str) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        await store(committer, DAY, b"good\n")
        disk.fail[call] = 1
        assert await code_of(store(committer, DAY, b"bad\n")) == "storage_unavailable"
        await store(committer, DAY, b"after\n")
        await store(committer, DAY, b"again\n")

    run(tmp_path, work)
    assert (tmp_path / "raw" / "training_data_20260105.jsonl").read_bytes() == b"good\n"
    assert (tmp_path / "raw" / "training_data_20260105.1.jsonl").read_bytes() == b"after\nagain\n"


def test_a_disk_that_stays_broken_does_not_pile_up_files(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        disk.fail["write"] = 10
        for _ in range(10):
            assert await code_of(store(committer, DAY, b"bad\n")) == "storage_unavailable"
        await store(committer, DAY, b"good\n")

    run(tmp_path, work)
    assert names(tmp_path) == ["training_data_20260105.jsonl"]


@pytest.mark.parametrize("call", ["open", "sync_folder"])
def test_nothing_is_stored_in_a_file_that_cannot_be_made_durable(tmp_path: Path, call: str) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        disk.fail[call] = 1
        assert await code_of(store(committer, DAY, b"bad\n")) == "storage_unavailable"
        disk.calls.clear()
        await store(committer, DAY, b"good\n")
        assert disk.calls[-4:] == ["open", "sync_folder", "write", "sync"]

    run(tmp_path, work)
    assert (tmp_path / "raw" / "training_data_20260105.jsonl").read_bytes() == b"good\n"


def test_a_failure_of_the_rejected_file_refuses_the_request(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        await store(committer, DAY, b"good\n", [b"rejected\n"])
        disk.fail["sync"] = 1
        assert await code_of(store(committer, DAY, b"", [b"lost?\n"])) == "storage_unavailable"
        await store(committer, DAY, b"", [b"kept\n"])

    run(tmp_path, work)
    assert (tmp_path / "rejected" / "rejected_20260105.1.jsonl").read_bytes() == b"kept\n"


def test_an_unforeseen_error_leaves_no_half_written_commit(tmp_path: Path) -> None:
    def lines() -> Iterator[bytes]:
        yield b"half\n" * 20_000
        raise RuntimeError("a fault of the program")

    async def work(committer: Committer, disk: BadDisk) -> None:
        await store(committer, DAY, b"", [b"good\n"])
        assert await code_of(store(committer, DAY, b"", lines())) == "internal_error"
        await store(committer, DAY, b"", [b"after\n"])
        files = (tmp_path / "rejected").iterdir()
        assert sorted(path.read_bytes().strip() for path in files) == [b"after", b"good"]

    run(tmp_path, work)


def test_ready_reports_a_failure_and_recovers_by_itself(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        await committer.check_ready()
        disk.fail["write"] = 2
        assert await code_of(store(committer, DAY, b"bad\n")) == "storage_unavailable"
        assert await code_of(committer.check_ready()) == "storage_unavailable"
        committer._next_probe = 0.0
        await committer.check_ready()
        await committer.check_ready()

    run(tmp_path, work)
    assert names(tmp_path) == []


def test_below_the_disk_floor_nothing_is_accepted(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        disk.free = 999
        assert await code_of(store(committer, DAY, b"bad\n")) == "disk_full"
        assert await code_of(committer.check_ready()) == "disk_full"

    run(tmp_path, work, disk_floor_bytes=1_000)
    assert names(tmp_path) == []


def test_a_disk_that_fills_up_and_is_cleared_is_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "flywheel.collector")
    monkeypatch.setattr(room, "_LOOK_SECONDS", 0.0)
    disk, metrics = BadDisk(), CollectorMetrics()
    watched = room.Room(disk, tmp_path, 1_000, metrics)
    watched.check()
    disk.free = 999
    for _ in range(2):
        with pytest.raises(RequestError) as caught:
            watched.check()
        assert caught.value.code == "disk_full"
    assert metrics.registry.get_sample_value("flywheel_collector_disk_free_bytes") == 999
    disk.free = 1_000
    watched.check()
    assert [record.message for record in caplog.records] == ["disk_full", "disk_has_room"]


def test_at_the_disk_floor_there_is_room(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        disk.free = 1_000
        await store(committer, DAY, b"good\n")

    run(tmp_path, work, disk_floor_bytes=1_000)


def test_only_the_start_and_the_end_of_a_failure_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "flywheel.collector")

    async def work(committer: Committer, disk: BadDisk) -> None:
        await store(committer, DAY, b"good\n")
        disk.fail["write"] = 3
        for _ in range(3):
            assert await code_of(store(committer, DAY, b"bad\n")) == "storage_unavailable"
        await store(committer, DAY, b"good\n")
        await store(committer, DAY, b"good\n")

    run(tmp_path, work)
    assert [record.message for record in caplog.records if "stor" in record.message] == [
        "storing_fails",
        "storing_works_again",
    ]


def test_however_often_readiness_is_asked_for_a_failing_disk_is_probed_once_a_second(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        disk.fail["write"] = 1
        assert await code_of(store(committer, DAY, b"bad\n")) == "storage_unavailable"
        disk.fail["open"] = 1_000
        disk.calls.clear()
        begun = time.monotonic()
        for _ in range(100):
            assert await code_of(committer.check_ready()) == "storage_unavailable"
        assert 1 <= disk.calls.count("open") <= 1 + int(time.monotonic() - begun + 1)

    run(tmp_path, work)


def test_requests_in_quick_succession_share_one_look_at_the_free_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_LOOK_SECONDS", 3_600.0)
    disk = BadDisk()
    watched = room.Room(disk, tmp_path, 1_000, CollectorMetrics())
    watched.check()
    disk.free = 999
    watched.check()
