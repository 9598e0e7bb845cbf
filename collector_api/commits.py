"""Group commit: requests that are waiting at the same time share one write and one sync."""

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
"""Idle turns of the event loop that it takes a received request to be decoded and join the queue."""
_TIDY_SECONDS = 0.25


@dataclass(eq=False, slots=True)
class _Entry:
    """What one request stores: lines for the raw file and for the rejected file, each ending in a newline."""

    day: date
    raw: bytes
    rejected: Iterable[bytes]
    points: int
    size: int
    done: asyncio.Future[None]


class Committer:
    """Store lines durably and in order, one commit at a time, on a dedicated thread.

    The future that `begin` returns is done once its lines are synced; if it fails, none of them was
    acknowledged. All lines of one request go into the files of one day. A commit takes waiting requests of
    the same day, up to `commit_bytes`.
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
        """Repair what an earlier run left behind, then start committing. Raises StorageError."""
        self._loop = asyncio.get_running_loop()
        await self._on_thread(self._files.mend)
        self._tasks = [asyncio.create_task(self._commit_forever()), asyncio.create_task(self._tidy_forever())]

    async def stop(self) -> None:
        """Commit what is waiting and close the files; a second call does nothing."""
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
        """Queue lines that hold `points` data points; return a future that is done once they are on disk.

        `rejected` is iterated only when it is written, on the committer's thread. `size` is the approximate
        number of bytes of all lines, used to group requests into commits; it defaults to the length of `raw`.

        Raises RequestError `disk_full` below the disk floor, `storage_unavailable` when the free space is
        unknown, `shutting_down` once the server is stopping. The future fails with `storage_unavailable` when
        the write fails, or with `internal_error` when something unexpected does.
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
        """Raise RequestError `disk_full` below the floor, `storage_unavailable` if free space is unknown."""
        self._room.check()

    async def check_ready(self) -> None:
        """Raise RequestError while stopping, without room on the disk, or after a failure to store.

        While storing is failing, this writes a probe file, at most once a second, to see whether it works
        again.
        """
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
                    continue  # the request was cancelled in the meantime
                if code is None:
                    entry.done.set_result(None)
                else:
                    entry.done.set_exception(RequestError(code, retry_after=RETRY_AFTER))

    async def _let_decode(self) -> None:
        """Let requests that have already arrived join the next commit, waiting at most `_DECODE_SECONDS`.

        Decoding while a commit runs is slower: at each of its steps the commit thread would wait for the
        interpreter lock, and then this thread would wait for the commit thread to release it.
        """
        until = self._loop.time() + _DECODE_SECONDS
        waiting, turns = 0, 0
        while turns < _TURNS_TO_DECODE and self._loop.time() < until:
            await asyncio.sleep(0)
            turns = turns + 1 if len(self._waiting) == waiting else 0
            waiting = len(self._waiting)

    async def _commit(self, entries: list[_Entry]) -> str | None:
        """Write and sync; return the error code on failure, None on success."""
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
        """Remember whether storing is failing. Only the start and the end of a failure are logged."""
        if self._failing and not failing:
            log.info("storing_works_again")
        self._failing = failing

    def _take(self) -> list[_Entry]:
        """Return the requests of the next commit, all of one day.

        Together they stay within `commit_bytes`, unless the first one alone exceeds it.
        """
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
