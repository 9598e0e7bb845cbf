"""Run a Committer on a disk that fails or blocks on demand, with a settable clock."""

import asyncio
import errno
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from collector_api.commits import Committer
from collector_api.disk import Disk
from collector_api.metrics import CollectorMetrics
from flywheel_core.errors import RequestError
from flywheel_core.lake.layout import Layout

DAY = date(2026, 1, 5)
NEXT = date(2026, 1, 6)
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC).timestamp()


class BadDisk(Disk):
    """The real disk, with calls that fail and writes that block on demand.

    fail: call -> how many more times it raises EIO. calls: names of the calls so far. gate: while it is cleared, writes
    block. reached: set once a write has begun. free: free space to report, in bytes.
    """

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
    """Run `work` with a started committer on `tmp_path`, and stop the committer afterwards.

    `settings` are arguments of Committer; `writer` may be among them.
    """

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


async def store(
    committer: Committer, day: date, raw: bytes, rejected: Iterable[bytes] = (), points: int = 0
) -> None:
    """Return once the lines are on disk. Raises RequestError when they cannot be stored."""
    await committer.begin(day, raw, rejected, points)


async def held(committer: Committer, disk: BadDisk, line: bytes = b"held\n") -> asyncio.Task[None]:
    """Start a request; return it once its commit is blocked in the disk's write, until the test sets `disk.gate`."""
    disk.gate.clear()
    disk.reached.clear()
    task = asyncio.create_task(store(committer, DAY, line))
    assert await asyncio.to_thread(disk.reached.wait, 30)
    return task


async def waiting(*stored: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
    """Start requests; return them once each is queued for a commit."""
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
