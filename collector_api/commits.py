"""Group commit: requests that wait at the same time share one write and one sync."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import TypeVar, TypeVarTuple

from collector_api.disk import Disk
from collector_api.metrics import CollectorMetrics
from collector_api.room import RETRY_AFTER, Room
from collector_api.storing import WriterFiles
from flywheel_core.errors import RequestError, StorageError
from flywheel_core.lake.layout import Layout, day_of

log = logging.getLogger("flywheel.collector")

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_DECODE_SECONDS = 0.005
_TURNS_TO_DECODE = 2
"""Turns of the event loop from a request's bytes to its place in the queue."""
_TIDY_SECONDS = 0.25


@dataclass(eq=False, slots=True)
class _Entry:
    """What one request wants stored: lines for the raw file and for the rejected file, each ended by a newline."""

    day: date
    raw: bytes
    rejected: Iterable[bytes]
    points: int
    size: int
    done: asyncio.Future[None]


class Committer:
    """Stores lines durably, in order, one commit at a time, on a thread of its own.

    What `begin` gives is done once its lines are synced; when it fails, nothing of them was acknowledged. Lines of one
    request go to the file of one day; a commit takes waiting requests of the same day up to `commit_bytes`.
    """

    def __init__(
        self,
        layout: Layout,
        writer: str | None,
        metrics: CollectorMetrics,
        *,
        commit_bytes: int,
        disk_floor_bytes: int,
        clock: Callable[[], float] = time.time,
        disk: Disk | None = None,
    ) -> None:
        self._metrics = metrics
        self._commit_bytes = commit_bytes
        self._clock = clock
        disk = disk or Disk()
        self._room = Room(disk, layout.raw, disk_floor_bytes, metrics)
        self._files = WriterFiles(layout, writer, disk, commit_bytes)
        self._waiting: deque[_Entry] = deque()
        metrics.queue_requests.set_function(lambda: len(self._waiting))
        self._more = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commit")
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop
        self._stopping = False
        self._failing = False
        self._next_probe = 0.0

    async def start(self) -> None:
        """Mend what an earlier run left behind, and begin to commit. Raises StorageError."""
        self._loop = asyncio.get_running_loop()
        await self._on_thread(self._files.mend)
        self._tasks = [asyncio.create_task(self._commit_forever()), asyncio.create_task(self._tidy_forever())]

    async def stop(self) -> None:
        """Commit what waits and close the files; a second call does nothing."""
        if self._stopping:
            return
        self._stopping = True
        self._more.set()
        if self._tasks:
            commit, tidy = self._tasks
            tidy.cancel()
            await commit
            with contextlib.suppress(asyncio.CancelledError):
                await tidy
        await self._on_thread(self._files.close)
        self._thread.shutdown()

    def begin(
        self,
        day: date,
        raw: bytes,
        rejected: Iterable[bytes] = (),
        points: int = 0,
        *,
        size: int | None = None,
    ) -> "asyncio.Future[None]":
        """What is done once the lines, which hold `points` data points, are on disk.

        The pieces of `rejected` are asked for when they are written, on the committer's thread. size: bytes of all lines,
        about, by which requests are grouped into commits; that of `raw` unless given.

        Raises RequestError `disk_full` below the disk floor, `shutting_down` once the server stops; the future
        `storage_unavailable` when storing failed.
        """
        if self._stopping:
            raise RequestError("shutting_down", retry_after=RETRY_AFTER)
        self.check_room()
        size = len(raw) if size is None else size
        entry = _Entry(day, raw, rejected, points, size, self._loop.create_future())
        if raw or rejected:
            self._waiting.append(entry)
            self._more.set()
        else:
            entry.done.set_result(None)
        return entry.done

    def check_room(self) -> None:
        """Raise RequestError `disk_full` below the disk floor."""
        self._room.check()

    async def check_ready(self) -> None:
        """Raise RequestError when a batch could not be stored right now. After a failure it tries, once a second."""
        if self._stopping:
            raise RequestError("shutting_down", retry_after=RETRY_AFTER)
        self.check_room()
        if self._failing and time.monotonic() >= self._next_probe:
            self._next_probe = time.monotonic() + 1.0
            try:
                await self._on_thread(self._files.probe)
                self._note(False)
            except OSError as error:
                log.warning("probe_failed", extra={"error": str(error)})
        if self._failing:
            raise RequestError("storage_unavailable", retry_after=RETRY_AFTER)

    async def _commit_forever(self) -> None:
        while True:
            if not self._waiting:
                if self._stopping:
                    return
                self._more.clear()
                await self._more.wait()
                continue
            await self._let_decode()
            entries = self._take()
            code = await self._commit(entries)
            self._note(code is not None)
            if code is None:
                self._metrics.points.inc(sum(entry.points for entry in entries))
            for entry in entries:
                if entry.done.done():
                    continue  # its request was cancelled meanwhile
                if code is None:
                    entry.done.set_result(None)
                else:
                    entry.done.set_exception(RequestError(code, retry_after=RETRY_AFTER))

    async def _let_decode(self) -> None:
        """Let requests that have come already join the next commit, for at most `_DECODE_SECONDS`.

        To decode beside a commit is slower: at each of its steps the thread that commits would wait for the interpreter,
        and then this one for that thread.
        """
        until = self._loop.time() + _DECODE_SECONDS
        waiting, turns = 0, 0
        while turns < _TURNS_TO_DECODE and self._loop.time() < until:
            await asyncio.sleep(0)
            turns = turns + 1 if len(self._waiting) == waiting else 0
            waiting = len(self._waiting)

    async def _commit(self, entries: list[_Entry]) -> str | None:
        """Write and sync; the code of the failure, if any."""
        try:
            await self._on_thread(self._write, entries)
        except StorageError as error:
            self._metrics.commit_failures.inc()
            if not self._failing:
                log.error("storing_fails", extra={"error": error.message})
            return "storage_unavailable"
        except Exception:
            self._metrics.commit_failures.inc()
            log.exception("commit_failed", extra={"requests": len(entries)})
            return "internal_error"
        return None

    def _note(self, failing: bool) -> None:
        """Remember whether storing fails; the log tells when that begins and ends, not every time."""
        if self._failing and not failing:
            log.info("storing_works_again")
        self._failing = failing

    def _take(self) -> list[_Entry]:
        """The requests of the next commit: of one day, not above `commit_bytes` unless one alone is."""
        entries = [self._waiting.popleft()]
        size = entries[0].size
        while self._waiting and self._waiting[0].day == entries[0].day:
            size += self._waiting[0].size
            if size > self._commit_bytes:
                break
            entries.append(self._waiting.popleft())
        return entries

    async def _tidy_forever(self) -> None:
        while True:
            await asyncio.sleep(_TIDY_SECONDS)
            if not self._waiting:
                await self._on_thread(self._tidy)

    async def _on_thread(self, work: Callable[[*_Ts], _T], *arguments: *_Ts) -> _T:
        return await self._loop.run_in_executor(self._thread, work, *arguments)

    def _write(self, entries: list[_Entry]) -> None:
        started = time.perf_counter()
        raw = [entry.raw for entry in entries if entry.raw]
        rejected = [entry.rejected for entry in entries if entry.rejected]
        size = self._files.write(entries[0].day, raw, rejected)
        self._metrics.commit_seconds.observe(time.perf_counter() - started)
        self._metrics.stored_bytes.inc(size)

    def _tidy(self) -> None:
        self._files.tidy(day_of(self._clock()))
