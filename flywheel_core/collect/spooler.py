"""Data points that wait on disk: store them in the spool, and send them from there, oldest first."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from flywheel_core.collect.courier import BATCH_BYTES, Courier, Settle
from flywheel_core.collect.spool import Spool
from flywheel_core.collect.wakeup import Wakeup
from flywheel_core.errors import StorageError
from flywheel_core.trouble import Trouble

BATCH_POINTS = 200
"""Most data points sent at once from the spool."""
DISK_PAUSE = 0.2
"""Seconds to wait after the disk refused."""

log = logging.getLogger(__name__)

T = TypeVar("T")


class Spooler:
    """The spool of an uploader, in `folder`.

    on_settled: called with the number of lines settled and how many of them were rejected, in one step with
    the change of `points`; on_removed: likewise, with the number of lines whose files were removed; points:
    number of data points in the spool that are not settled.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        courier: Courier,
        wakeup: Wakeup,
        on_settled: Callable[[int, int], None],
        on_removed: Callable[[int], None],
    ) -> None:
        self._folder = folder
        self._spool = Spool(folder, max_bytes)
        self._courier = courier
        self._wakeup = wakeup
        self._on_settled = on_settled
        self._on_removed = on_removed
        self._cannot_write, self._cannot_read = Trouble(log), Trouble(log)
        self._disk = asyncio.Lock()
        self.points = 0

    @property
    def size(self) -> int:
        """Bytes of the spool's files."""
        return self._spool.size

    async def open(self) -> None:
        """Find what an earlier process left. Raises StorageError as `Spool.open` does."""
        await asyncio.to_thread(self._spool.open)
        self.points = self._spool.points

    async def close(self) -> None:
        """Release the spool for the next process."""
        await asyncio.to_thread(self._spool.close)

    async def store(self, lines: Sequence[bytes]) -> int:
        """Store lines and return how many fitted, counted from the first.

        Raises StorageError when the disk refuses, which is logged; then none of them is in the spool.
        """
        try:
            stored = await self._on_disk(lambda: self._spool.append(lines))
        except StorageError as error:
            self._cannot_write.met(
                "spool_not_written", extra={"reason": error.message, "in_memory": len(lines)}
            )
            raise
        self._cannot_write.gone("spool_written_again", extra={"folder": str(self._folder)})
        self.points += stored
        return stored

    async def send(self) -> None:
        """Send what is in the spool for as long as it takes, until the courier is stopped."""
        while not self._courier.stopped:
            wait = self._courier.wait
            if not self.points or wait > 0:
                await self._wakeup.wait(wait if self.points else None)
                continue
            try:
                lines = await self._on_disk(lambda: self._spool.peek(BATCH_POINTS, BATCH_BYTES))
            except StorageError as error:
                self._cannot_read.met("spool_unreadable", extra={"reason": error.message})
                await self._forget_removed()
                await asyncio.sleep(DISK_PAUSE)
                continue
            self._cannot_read.gone("spool_readable_again", extra={"folder": str(self._folder)})
            await self._courier.deliver(tuple(lines), self._settler(lines))

    async def _forget_removed(self) -> None:
        removed = await self._on_disk(self._spool.forget_removed)
        if removed:
            self.points -= removed
            self._on_removed(removed)
            log.error("spool_removed", extra={"folder": str(self._folder), "dropped": removed})
            self._wakeup.wake()

    def _settler(self, lines: list[bytes]) -> Settle:
        """Return a callback that removes settled lines from the spool."""

        async def settle(count: int, rejected: int) -> None:
            done, lines[:count] = lines[:count], []
            try:
                await self._on_disk(lambda: self._spool.take(done))
            except StorageError as error:
                log.error("spool_position_not_saved", extra={"reason": error.message, "sent_again": count})
            self.points -= count
            self._on_settled(count, rejected)

        return settle

    async def _on_disk(self, work: Callable[[], T]) -> T:
        async with self._disk:
            return await asyncio.to_thread(work)
