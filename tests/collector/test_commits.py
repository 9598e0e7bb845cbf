"""Group commit on a disk that fails on purpose, under a clock that is told what time it is."""

import asyncio
import errno
import threading
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from collector_api.commits import Committer
from collector_api.disk import Disk
from collector_api.metrics import CollectorMetrics
from flywheel_core.errors import RequestError, StorageError
from flywheel_core.lake.layout import Layout, day_of

DAY = date(2026, 1, 5)
NEXT = date(2026, 1, 6)
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC).timestamp()


class BadDisk(Disk):
    """The real disk, until told to fail or to wait."""

    def __init__(self) -> None:
        self.fail: dict[str, int] = {}
        self.calls: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()
        self.free = 10**12

    def _step(self, call: str) -> None:
        self.calls.append(call)
        if self.fail.get(call):
            self.fail[call] -= 1
            raise OSError(errno.EIO, "injected")

    def open(self, path: Path, *, create: bool) -> int:
        self._step("open")
        return super().open(path, create=create)

    def write(self, file: int, data: memoryview, offset: int) -> None:
        self.reached.set()
        self.gate.wait(30)
        self._step("write")
        super().write(file, data, offset)

    def sync(self, file: int) -> None:
        super().sync(file)
        self._step("sync")

    def sync_folder(self, folder: Path) -> None:
        super().sync_folder(folder)
        self._step("sync_folder" if folder.name in ("raw", "rejected") else "sync_parent")

    def free_bytes(self, folder: Path) -> int:
        return self.free


def run(
    tmp_path: Path,
    work: Callable[[Committer, BadDisk], Coroutine[Any, Any, None]],
    *,
    disk: BadDisk | None = None,
    now: Callable[[], float] = lambda: NOON,
    **settings: Any,
) -> None:
    """Run `work` on a committer over `tmp_path`."""

    async def main() -> None:
        used = disk or BadDisk()
        options = {"commit_bytes": 65_536, "disk_floor_bytes": 0} | settings
        committer = Committer(
            Layout(tmp_path), options.pop("writer", None), CollectorMetrics(), clock=now, disk=used, **options
        )
        await committer.start()
        used.calls.clear()
        try:
            await work(committer, used)
        finally:
            used.gate.set()
            await committer.stop()

    asyncio.run(main())


async def held(committer: Committer, disk: BadDisk, line: bytes = b"held\n") -> asyncio.Task[None]:
    """A request whose commit has begun and waits at the gate of the disk."""
    disk.gate.clear()
    disk.reached.clear()
    task = asyncio.create_task(committer.store(DAY, line))
    assert await asyncio.to_thread(disk.reached.wait, 30)
    return task


async def waiting(*stored: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
    """Requests that wait for their commit."""
    tasks = [asyncio.create_task(one) for one in stored]
    await asyncio.sleep(0)
    return tasks


async def until(true: Callable[[], bool]) -> None:
    for _ in range(3_000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never became true")


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "raw").iterdir())


async def code_of(stored: Awaitable[None]) -> str:
    with pytest.raises(RequestError) as caught:
        await stored
    return caught.value.code


def test_requests_that_wait_together_share_one_write_and_one_sync(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        await committer.store(DAY, b"first\n")
        disk.calls.clear()
        first = await held(committer, disk)
        others = await waiting(*(committer.store(DAY, b"%d\n" % number) for number in range(100)))
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
        others = await waiting(*(committer.store(DAY, line) for _ in range(6)))
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
        await committer.store(DAY, b"good\n")
        disk.fail[call] = 1
        assert await code_of(committer.store(DAY, b"bad\n")) == "storage_unavailable"
        await committer.store(DAY, b"after\n")
        await committer.store(DAY, b"again\n")

    run(tmp_path, work)
    assert (tmp_path / "raw" / "training_data_20260105.jsonl").read_bytes() == b"good\n"
    assert (tmp_path / "raw" / "training_data_20260105.1.jsonl").read_bytes() == b"after\nagain\n"


def test_a_disk_that_stays_broken_does_not_pile_up_files(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        disk.fail["write"] = 10
        for _ in range(10):
            assert await code_of(committer.store(DAY, b"bad\n")) == "storage_unavailable"
        await committer.store(DAY, b"good\n")

    run(tmp_path, work)
    assert names(tmp_path) == ["training_data_20260105.jsonl"]


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


@pytest.mark.parametrize("call", ["open", "sync_folder"])
def test_a_file_that_cannot_be_made_durable_takes_nothing(tmp_path: Path, call: str) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        disk.fail[call] = 1
        assert await code_of(committer.store(DAY, b"bad\n")) == "storage_unavailable"
        disk.calls.clear()
        await committer.store(DAY, b"good\n")
        assert disk.calls[-4:] == ["open", "sync_folder", "write", "sync"]

    run(tmp_path, work)
    assert (tmp_path / "raw" / "training_data_20260105.jsonl").read_bytes() == b"good\n"


def test_a_failure_of_the_rejected_file_refuses_the_request(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        await committer.store(DAY, b"good\n", [b"rejected\n"])
        disk.fail["sync"] = 1
        assert await code_of(committer.store(DAY, b"", [b"lost?\n"])) == "storage_unavailable"
        await committer.store(DAY, b"", [b"kept\n"])

    run(tmp_path, work)
    assert (tmp_path / "rejected" / "rejected_20260105.1.jsonl").read_bytes() == b"kept\n"


def test_ready_tells_of_a_failure_and_recovers_by_itself(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        await committer.check_ready()
        disk.fail["write"] = 2
        assert await code_of(committer.store(DAY, b"bad\n")) == "storage_unavailable"
        assert await code_of(committer.check_ready()) == "storage_unavailable"
        committer._next_probe = 0.0
        await committer.check_ready()
        await committer.check_ready()

    run(tmp_path, work)
    assert names(tmp_path) == []


def test_below_the_disk_floor_nothing_is_taken(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        disk.free = 999
        assert await code_of(committer.store(DAY, b"bad\n")) == "disk_full"
        assert await code_of(committer.check_ready()) == "disk_full"

    run(tmp_path, work, disk_floor_bytes=1_000)
    assert names(tmp_path) == []


def test_midnight_under_a_commit_in_flight_starts_the_next_days_file(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        first = await held(committer, disk)
        late = await waiting(*(committer.store(DAY, b"late %d\n" % number) for number in range(2)))
        early = await waiting(*(committer.store(NEXT, b"early %d\n" % number) for number in range(2)))
        disk.gate.set()
        await asyncio.gather(first, *late, *early)

    run(tmp_path, work)
    assert (tmp_path / "raw" / "training_data_20260105.jsonl").read_bytes() == b"held\nlate 0\nlate 1\n"
    assert (tmp_path / "raw" / "training_data_20260106.jsonl").read_bytes() == b"early 0\nearly 1\n"


def test_a_clock_that_jumps_back_continues_the_earlier_file(tmp_path: Path) -> None:
    async def work(committer: Committer, _disk: BadDisk) -> None:
        for number, day in enumerate([DAY, NEXT, DAY, NEXT]):
            await committer.store(day, b"%d\n" % number)

    run(tmp_path, work)
    assert (tmp_path / "raw" / "training_data_20260105.jsonl").read_bytes() == b"0\n2\n"
    assert (tmp_path / "raw" / "training_data_20260106.jsonl").read_bytes() == b"1\n3\n"


def test_a_quiet_collector_leaves_plain_lines_and_closes_the_past_day(tmp_path: Path) -> None:
    times = [NOON]
    path = tmp_path / "raw" / "training_data_20260105.jsonl"

    async def work(committer: Committer, _disk: BadDisk) -> None:
        await committer.store(day_of(times[0]), b"line\n")
        await until(lambda: path.read_bytes() == b"line\n")
        times[0] += 86_400
        await until(lambda: committer._raw._file is None)

    run(tmp_path, work, now=lambda: times[0])


def test_a_new_start_seals_what_a_crash_left(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "training_data_20260104.jsonl").write_bytes(b"old\n\n\n\n")
    (folder / "training_data_20260105.jsonl").write_bytes(b"whole\ntor")
    (folder / "training_data_20260105.east.jsonl").write_bytes(b"another's tor")

    async def work(committer: Committer, _disk: BadDisk) -> None:
        await committer.store(DAY, b"new\n")

    run(tmp_path, work)
    assert (folder / "training_data_20260104.jsonl").read_bytes() == b"old\n"
    assert (folder / "training_data_20260105.jsonl").read_bytes() == b"whole\ntor\nnew\n"
    assert (folder / "training_data_20260105.east.jsonl").read_bytes() == b"another's tor"


def test_writers_have_files_of_their_own(tmp_path: Path) -> None:
    async def work(committer: Committer, _disk: BadDisk) -> None:
        await committer.store(DAY, b"line\n", [b"rejected\n"])

    run(tmp_path, work, writer="east")
    assert names(tmp_path) == ["training_data_20260105.east.jsonl"]
    assert (tmp_path / "rejected" / "rejected_20260105.east.jsonl").read_bytes() == b"rejected\n"


def test_stopping_stores_what_waits_and_takes_no_more(tmp_path: Path) -> None:
    async def work(committer: Committer, disk: BadDisk) -> None:
        first = await held(committer, disk)
        others = await waiting(*(committer.store(DAY, b"%d\n" % number) for number in range(5)))
        (stopping,) = await waiting(committer.stop())
        assert await code_of(committer.store(DAY, b"late\n")) == "shutting_down"
        assert await code_of(committer.check_ready()) == "shutting_down"
        disk.gate.set()
        await asyncio.gather(stopping, first, *others)

    run(tmp_path, work)
    assert (tmp_path / "raw" / "training_data_20260105.jsonl").read_bytes() == b"held\n0\n1\n2\n3\n4\n"


def test_a_data_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file where the folder should be")

    async def work(_committer: Committer, _disk: BadDisk) -> None:
        raise AssertionError("it must not start")

    with pytest.raises(StorageError, match="raw"):
        run(tmp_path, work)
