"""Group commit: what waits together is stored together, and answered after the sync; with a settable clock."""

import asyncio
import time
from pathlib import Path

import pytest

from collector_api.commits import Committer
from flywheel_core.errors import StorageError
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

    run(tmp_path, work, now=lambda: NOON + 86_400)  # of NEXT: the file of a day that is over is closed
    assert open_files() == []


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
