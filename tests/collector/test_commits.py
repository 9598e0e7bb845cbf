"""Group commit, on a disk that fails on demand and with a settable clock."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector_api import room
from collector_api.commits import Committer
from collector_api.metrics import CollectorMetrics
from flywheel_core.errors import RequestError, StorageError
from flywheel_core.lake.layout import day_of
from tests.collector.committing import (
    DAY,
    NEXT,
    NOON,
    BadDisk,
    code_of,
    held,
    names,
    run,
    store,
    until,
    waiting,
)


def test_requests_that_wait_together_share_one_write_and_one_sync(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        await store(committer, DAY, b"first\n")
        disk.calls.clear()
        first = await held(committer, disk)
        others = await waiting(*(store(committer, DAY, b"%d\n" % number) for number in range(100)))
        disk.gate.set()
        await asyncio.gather(first, *others)
        assert disk.calls == ["write", "sync"] * 2

    run(tmp_path, work)
    stored = (tmp_path / "raw" / "training_data_20260105.jsonl").read_bytes().split()
    assert stored == [b"first", b"held", *(b"%d" % number for number in range(100))]


def test_one_commit_has_at_most_commit_bytes(tmp_path: Path) -> None:
    line = b"x" * 29_999 + b"\n"

    async def work(committer: Committer, disk: BadDisk) -> None:
        first = await held(committer, disk)
        others = await waiting(*(store(committer, DAY, line) for _ in range(6)))
        disk.gate.set()
        await asyncio.gather(first, *others)
        assert disk.calls.count("sync") == 1 + 3

    run(tmp_path, work)


def test_an_answer_comes_only_after_the_sync(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        stored = await held(committer, disk)
        assert not stored.done()
        disk.gate.set()
        await stored
        assert disk.calls[-1] == "sync"

    run(tmp_path, work)


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


@pytest.mark.parametrize("call", ["write", "sync", "sync_folder"])
def test_no_file_stays_open_that_is_not_written_any_more(tmp_path: Path, call: str) -> None:
    """A disk that fails for hours would otherwise use up the open files of the process."""

    def open_files() -> list[str]:
        paths = [str(handle.resolve()) for handle in Path("/proc/self/fd").iterdir()]
        return [path for path in paths if "training_data_" in path or ".probe" in path]

    async def work(committer: Committer, disk: BadDisk) -> None:
        disk.fail[call] = 5
        for _ in range(5):
            assert await code_of(store(committer, DAY, b"bad\n")) == "storage_unavailable"
        await committer.check_ready()
        for day in (DAY, NEXT):
            await store(committer, day, b"good\n")
        assert open_files() == [str(tmp_path / "raw" / "training_data_20260106.jsonl")]

    run(tmp_path, work)
    assert open_files() == []


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


def test_midnight_during_a_commit_starts_the_next_days_file(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        first = await held(committer, disk)
        late = await waiting(*(store(committer, DAY, b"late %d\n" % number) for number in range(2)))
        early = await waiting(*(store(committer, NEXT, b"early %d\n" % number) for number in range(2)))
        disk.gate.set()
        await asyncio.gather(first, *late, *early)

    run(tmp_path, work)
    assert (tmp_path / "raw" / "training_data_20260105.jsonl").read_bytes() == b"held\nlate 0\nlate 1\n"
    assert (tmp_path / "raw" / "training_data_20260106.jsonl").read_bytes() == b"early 0\nearly 1\n"


def test_a_clock_that_jumps_back_continues_the_earlier_file(tmp_path: Path) -> None:
    async def work(committer: Committer, _disk: BadDisk) -> None:
        for number, day in enumerate([DAY, NEXT, DAY, NEXT]):
            await store(committer, day, b"%d\n" % number)

    run(tmp_path, work)
    assert (tmp_path / "raw" / "training_data_20260105.jsonl").read_bytes() == b"0\n2\n"
    assert (tmp_path / "raw" / "training_data_20260106.jsonl").read_bytes() == b"1\n3\n"


def test_a_quiet_collector_leaves_plain_lines_and_closes_the_past_day(tmp_path: Path) -> None:
    times = [NOON]
    path = tmp_path / "raw" / "training_data_20260105.jsonl"

    async def work(committer: Committer, _disk: BadDisk) -> None:
        await store(committer, day_of(times[0]), b"line\n")
        await until(lambda: path.read_bytes() == b"line\n")
        times[0] += 86_400
        await until(lambda: committer._files.raw._file is None)

    run(tmp_path, work, now=lambda: times[0])


def test_a_new_start_seals_what_a_crash_left(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "training_data_20260104.jsonl").write_bytes(b"old\n\n\n\n")
    (folder / "training_data_20260105.jsonl").write_bytes(b"whole\ntor")
    (folder / "training_data_20260105.east.jsonl").write_bytes(b"another's tor")

    async def work(committer: Committer, _disk: BadDisk) -> None:
        await store(committer, DAY, b"new\n")

    run(tmp_path, work)
    assert (folder / "training_data_20260104.jsonl").read_bytes() == b"old\n"
    assert (folder / "training_data_20260105.jsonl").read_bytes() == b"whole\ntor\nnew\n"
    assert (folder / "training_data_20260105.east.jsonl").read_bytes() == b"another's tor"


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


def test_commits_take_no_longer_than_those_who_wait_for_them(tmp_path: Path) -> None:
    async def work(committer: Committer, _disk: BadDisk) -> None:
        begun = time.perf_counter()
        for number in range(3):
            await store(committer, DAY, b"%d\n" % number)
        waited = time.perf_counter() - begun
        (found,) = committer._metrics.commit_seconds.collect()
        figures = {sample.name.rpartition("_")[2]: sample.value for sample in found.samples}
        assert figures["count"] == 3
        assert 0 < figures["sum"] <= waited

    run(tmp_path, work)


def test_each_writer_has_its_own_files(tmp_path: Path) -> None:
    async def work(committer: Committer, _disk: BadDisk) -> None:
        await store(committer, DAY, b"line\n", [b"rejected\n"])

    run(tmp_path, work, writer="east")
    assert names(tmp_path) == ["training_data_20260105.east.jsonl"]
    assert (tmp_path / "rejected" / "rejected_20260105.east.jsonl").read_bytes() == b"rejected\n"


def test_stopping_stores_waiting_requests_and_refuses_new_ones(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        first = await held(committer, disk)
        others = await waiting(*(store(committer, DAY, b"%d\n" % number) for number in range(5)))
        (stopping,) = await waiting(committer.stop())
        assert await code_of(store(committer, DAY, b"late\n")) == "shutting_down"
        assert await code_of(committer.check_ready()) == "shutting_down"
        disk.gate.set()
        await asyncio.gather(stopping, first, *others)

    run(tmp_path, work)
    assert (tmp_path / "raw" / "training_data_20260105.jsonl").read_bytes() == b"held\n0\n1\n2\n3\n4\n"


def test_a_data_folder_that_cannot_be_created_is_an_error_at_start(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file where the folder should be")

    async def work(_committer: Committer, _disk: BadDisk) -> None:
        raise AssertionError("it must not start")

    with pytest.raises(StorageError, match="raw"):
        run(tmp_path, work)
