"""Upload data points: batched, spooled while the collector is slow or away, never lost silently.

At every moment `offered = acknowledged + rejected + spooled + in_memory + dropped`:

- in_memory: waiting for their batch to fill, or being sent; a crash loses these, `close` does not;
- spooled: synced to disk and sent from there, however long it takes, by this process or the next one;
- acknowledged: stored by the collector; rejected: refused for good, kept with its reply in `rejected.jsonl`;
- dropped: the spool had no room, its files were removed, or at the end it could not be written.
"""

import asyncio
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from flywheel_core.collect.addresses import guard_of
from flywheel_core.collect.backlog import Backlog, Batch
from flywheel_core.collect.courier import BATCH_BYTES, Courier
from flywheel_core.collect.delivery import collector_endpoint, encode_line
from flywheel_core.collect.http import Http, HttpxHttp
from flywheel_core.collect.pool import PooledHttp
from flywheel_core.collect.spooler import DISK_PAUSE, Spooler
from flywheel_core.collect.wakeup import Wakeup
from flywheel_core.config import Config
from flywheel_core.errors import StorageError, UsageError
from flywheel_core.records import DataPoint

MAX_UPLOADS = 4
"""Most batches sent from memory at once."""
MAX_MEMORY_BYTES = 33_554_432
"""Bytes of points in memory, queued or in a batch, beyond which `offer` waits."""
SPILL_BYTES = 8_388_608
"""Bytes of queued points beyond which they go to the spool if MAX_UPLOADS are in progress."""

log = logging.getLogger(__name__)


class Uploader:
    """Sends data points to the configured collector. One for the life of a process.

        async with Uploader(config, Path("data/spool")) as uploader:
            await uploader.offer(point)

    spool: a folder of its own; client: an httpx client to use instead of Flywheel's own connections;
    environment: holds the collector's key, os.environ by default.

    Raises ConfigIncompleteError when that key is named but not set.
    """

    def __init__(
        self,
        config: Config,
        spool: Path,
        *,
        client: httpx.AsyncClient | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        settings = config.data_collection
        self._batch_size = settings.training.batch_size
        self._interval = float(settings.training.flush_interval)
        self._http: Http = HttpxHttp(client) if client is not None else PooledHttp(guard=guard_of(config))
        self._wakeup = Wakeup()
        self._courier = Courier(
            self._http, collector_endpoint(config, environment), spool / "rejected.jsonl", self._wakeup.wake
        )
        self._folder = spool
        self._spooler = Spooler(
            spool,
            settings.spool_max_bytes,
            self._courier,
            self._wakeup,
            self._count_settled,
            self._count_removed,
        )
        self._backlog = Backlog()
        self._sending: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._shutting: asyncio.Task[None] | None = None
        self._started = self._closed = False
        self.offered = self.acknowledged = self.rejected = self.dropped = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Open the spool and start sending. Points already in the spool count as offered.

        Raises StorageError when the spool belongs to another process or cannot be opened, UsageError at a
        second start, and after `close`.
        """
        if self._started or self._closed:
            raise UsageError("an uploader starts once", hint="make another one once this one is closed")
        await self._spooler.open()
        self.offered = self._spooler.points
        self._started = True
        self._loops = [asyncio.create_task(self._flush()), asyncio.create_task(self._spooler.send())]
        for task in self._loops:
            task.add_done_callback(_log_crash)

    async def offer(self, point: DataPoint) -> None:
        """Hand over a data point; waits only while memory is full and the disk cannot keep up.

        Raises UsageError (`uploader_closed`) before `start` and after `close`.
        """
        line = encode_line(point)
        while self._started and not self._closed and self._is_full():
            await self._wakeup.wait()
        if not self._started or self._closed:
            raise UsageError(
                "the uploader takes data points between start() and close() only", code="uploader_closed"
            )
        self.offered += 1
        self._backlog.add(line, self._now())
        self._wakeup.wake()

    @property
    def in_memory(self) -> int:
        """Number of data points that wait for their batch or are being sent."""
        return self._backlog.points

    @property
    def spooled(self) -> int:
        """Number of data points that are on disk and sent from there."""
        return self._spooler.points

    def stats(self) -> dict[str, Any]:
        """Return the module's counters, the spool's size in bytes, and the failed uploads by reason."""
        return {
            "offered": self.offered,
            "acknowledged": self.acknowledged,
            "rejected": self.rejected,
            "spooled": self.spooled,
            "in_memory": self.in_memory,
            "dropped": self.dropped,
            "spool_bytes": self._spooler.size,
            "uploads": self._courier.uploads,
            "failed_uploads": dict(self._courier.failed),
            "collector_away": self._courier.away,
        }

    async def close(self, deadline: float = 8.0) -> None:
        """Accept no more points, send what there is within `deadline` seconds, and spool the rest.

        While the collector is away, everything is spooled at once. Calling it twice is fine. When it returns,
        every point is acknowledged, rejected, spooled, or dropped with a log entry.
        """
        self._closed = True
        if not self._started:
            return
        if self._shutting is None:
            self._shutting = asyncio.create_task(self._shut(deadline))
        await asyncio.shield(self._shutting)

    async def _shut(self, deadline: float) -> None:
        self._wakeup.wake()
        try:
            async with asyncio.timeout(deadline):
                while self.in_memory or (self.spooled and not self._courier.away):
                    await self._wakeup.wait()
        except TimeoutError:
            log.warning("points_left_in_spool", extra={"folder": str(self._folder)})
        self._courier.stop()
        self._wakeup.wake()
        await asyncio.gather(*self._loops, *self._sending, return_exceptions=True)
        self._backlog.recall(self._now())
        if self._backlog.waiting:
            await self._spill(self._backlog.cut_all())
        if self.in_memory:
            lost = self._backlog.cut_all()
            self.dropped += len(lost.lines)
            self._backlog.release(lost)
            log.error("points_lost", extra={"points": len(lost.lines)})
        await self._http.close()
        await self._spooler.close()

    async def _flush(self) -> None:
        """Cut batches when they are full or old enough, and send or spool them."""
        while not self._courier.stopped:
            due = self._due_in()
            if due > 0:
                await self._wakeup.wait(due)
            elif self.spooled or self._courier.wait > 0:
                await self._spill(self._backlog.cut_all())
            elif len(self._sending) < MAX_UPLOADS:
                task = asyncio.create_task(self._send(self._backlog.cut(self._batch_size, BATCH_BYTES)))
                self._sending.add(task)
                task.add_done_callback(self._sent)
            elif self._backlog.waiting_bytes > SPILL_BYTES or self._is_full():
                await self._spill(self._backlog.cut_all())
            else:
                await self._wakeup.wait()

    def _is_full(self) -> bool:
        return self._backlog.total_bytes > MAX_MEMORY_BYTES

    def _due_in(self) -> float:
        """Return the seconds until the next batch is due; 0 if it is due now, infinity if nothing waits."""
        backlog = self._backlog
        if backlog.since is None:
            return math.inf
        is_whole = backlog.waiting >= self._batch_size or backlog.waiting_bytes >= BATCH_BYTES
        if is_whole or self._closed or self._is_full():
            return 0.0
        return max(0.0, backlog.since + self._interval - self._now())

    async def _send(self, batch: Batch) -> None:
        async def settle(count: int, rejected: int) -> None:
            del batch.lines[:count]
            self._count_settled(count, rejected)

        if await self._courier.deliver(tuple(batch.lines), settle):
            self._backlog.release(batch)
        else:
            await self._spill(batch)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        _log_crash(task)
        self._wakeup.wake()

    def _count_settled(self, count: int, rejected: int) -> None:
        self.rejected += rejected
        self.acknowledged += count - rejected

    def _count_removed(self, count: int) -> None:
        self.dropped += count

    async def _spill(self, batch: Batch) -> None:
        """Move a batch to the spool, or back to the queue if the disk refuses."""
        try:
            stored = await self._spooler.store(batch.lines)
        except StorageError:
            self._backlog.put_back(batch, self._now())
            await asyncio.sleep(DISK_PAUSE)
            return
        dropped = len(batch.lines) - stored
        self.dropped += dropped
        self._backlog.release(batch)
        if dropped:
            log.error("spool_full", extra={"dropped": dropped, "dropped_in_all": self.dropped})
        self._wakeup.wake()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _log_crash(task: asyncio.Task[None]) -> None:
    """Log that a task of the uploader failed: its points stay in memory until the uploader is closed."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("uploader_failed", exc_info=task.exception())
