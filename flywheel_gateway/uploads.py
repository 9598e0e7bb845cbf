"""The current uploader: only one at a time uses the spool folder; replaced when its settings change."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flywheel_core.collect.upload import Uploader
from flywheel_core.config import Config
from flywheel_core.errors import StorageError
from flywheel_core.records import DataPoint
from flywheel_core.trouble import Trouble

_TOTALS = ("offered", "acknowledged", "rejected", "dropped", "uploads")

EXCHANGE_SECONDS = 2.0
"""Seconds that a replaced uploader may go on sending; the rest stays in the spool for its successor."""

RETRY_SECONDS = 1.0
"""Pause before a successor tries again to open the spool."""

logger = logging.getLogger(__name__)


class Uploads:
    """Takes data points for the collector; those that cannot be sent yet wait in `spool`."""

    def __init__(self, config: Config, spool: Path) -> None:
        self._spool = spool
        self._settings = _settings(config)
        self._uploader = Uploader(config, spool)
        self._exchange = asyncio.Lock()
        self._exchanging: asyncio.Task[None] | None = None
        self._earlier: Mapping[str, Any] | None = None
        self._closed = False
        self._not_opened = Trouble(logger)

    async def start(self) -> None:
        """Start sending, beginning with what an earlier process left in the spool."""
        await self._uploader.start()

    async def offer(self, point: DataPoint) -> None:
        """Take one point. Waits for the disk, and for a replacement of the uploader in progress."""
        async with self._exchange:
            await self._uploader.offer(point)

    def prepare(self, config: Config) -> Uploader | None:
        """Return the uploader for another configuration, or None if its upload settings are the same.

        Raises ConfigIncompleteError as `Uploader` does.
        """
        return None if _settings(config) == self._settings else Uploader(config, self._spool)

    async def exchange(self, successor: Uploader, config: Config) -> None:
        """Send through the uploader from `prepare` from now on.

        While the spool cannot be opened, as on a disk that became read-only, this waits, and so does whoever
        offers points. The replacement runs to its end even if the caller is cancelled, as at shutdown: without
        an uploader, points that are still being collected would be lost.
        """
        self._exchanging = asyncio.create_task(self._replace(successor, config))
        await asyncio.shield(self._exchanging)

    def stats(self) -> Mapping[str, Any]:
        """Return the total counts of all uploaders so far, as `Uploader.stats`, with the same invariant."""
        now, earlier = self._uploader.stats(), self._earlier
        if earlier is None:
            return now
        totals = {name: earlier[name] + now[name] for name in _TOTALS}
        totals["offered"] -= earlier["spooled"]  # the successor counts what it found in the spool
        failed = Counter(earlier["failed_uploads"]) + Counter(now["failed_uploads"])
        return {**now, **totals, "failed_uploads": dict(failed)}

    async def close(self, deadline: float) -> None:
        """Finish a replacement in progress, send for at most `deadline` seconds, leave the rest spooled.

        A replacement that waits for the spool is given up.
        """
        self._closed = True
        async with self._exchange:
            await self._uploader.close(deadline)

    async def _replace(self, successor: Uploader, config: Config) -> None:
        async with self._exchange:
            if self._closed:
                return
            await self._uploader.close(EXCHANGE_SECONDS)
            earlier = self.stats()
            while not await self._has_started(successor):
                await asyncio.sleep(RETRY_SECONDS)
                if self._closed:
                    return
            # Both in one step: a reader in between would count points twice.
            self._earlier, self._uploader = earlier, successor
            self._settings = _settings(config)

    async def _has_started(self, successor: Uploader) -> bool:
        """Start an uploader; return whether it could open the spool."""
        try:
            await successor.start()
        except StorageError as error:
            self._not_opened.met("spool_not_opened", extra={"reason": error.message})
            return False
        self._not_opened.gone("spool_opened", extra={"folder": str(self._spool)})
        return True


def _settings(config: Config) -> tuple[object, ...]:
    """Return the part of a configuration that an uploader uses."""
    collection = config.data_collection
    training = collection.training
    return (
        collection.storage_endpoint,
        collection.api_key_env,
        collection.spool_max_bytes,
        config.network,
        training.batch_size,
        training.flush_interval,
    )
