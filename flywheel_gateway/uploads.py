"""The uploader in force: one at a time on the spool folder, exchanged when the configuration changes its settings."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flywheel_core.collect.upload import Uploader
from flywheel_core.config import Config
from flywheel_core.records import DataPoint

_TOTALS = ("offered", "acknowledged", "rejected", "dropped", "uploads")

EXCHANGE_SECONDS = 2.0
"""How long an uploader that is to be replaced may still send; the rest stays in the spool for its successor."""


class Uploads:
    """Takes data points for the collector; what cannot be sent lies in `spool` until it can."""

    def __init__(self, config: Config, spool: Path) -> None:
        self._spool = spool
        self._settings = _settings(config)
        self._uploader = Uploader(config, spool)
        self._exchange = asyncio.Lock()
        self._exchanging: asyncio.Task[None] | None = None
        self._earlier: Mapping[str, Any] | None = None
        self._closed = False

    async def start(self) -> None:
        """Begin to send, what an earlier process left in the spool included."""
        await self._uploader.start()

    async def offer(self, point: DataPoint) -> None:
        """Take one point. Waits for nothing but the disk."""
        async with self._exchange:
            await self._uploader.offer(point)

    def prepare(self, config: Config) -> Uploader | None:
        """The uploader that another configuration asks for; None when it says the same about uploads.

        Raises ConfigIncompleteError as `Uploader` does.
        """
        return None if _settings(config) == self._settings else Uploader(config, self._spool)

    async def exchange(self, successor: Uploader, config: Config) -> None:
        """Send through what `prepare` gave from now on. Raises StorageError when the spool cannot be opened again.

        Whoever waits for it may be cancelled, as a gateway that ends does: it comes to its end all the same, for without an
        uploader what is still being collected would be lost.
        """
        self._exchanging = asyncio.create_task(self._replace(successor, config))
        await asyncio.shield(self._exchanging)

    def stats(self) -> Mapping[str, Any]:
        """What the uploaders counted so far, as `Uploader.stats`; its invariant holds across exchanges too."""
        now, earlier = self._uploader.stats(), self._earlier
        if earlier is None:
            return now
        totals = {name: earlier[name] + now[name] for name in _TOTALS}
        totals["offered"] -= earlier["spooled"]  # the successor counts what it found in the spool
        failed = Counter(earlier["failed_uploads"]) + Counter(now["failed_uploads"])
        return {**now, **totals, "failed_uploads": dict(failed)}

    async def close(self, deadline: float) -> None:
        """Send what can be sent within `deadline` s, after an exchange under way; the rest stays in the spool."""
        async with self._exchange:
            self._closed = True
            await self._uploader.close(deadline)

    async def _replace(self, successor: Uploader, config: Config) -> None:
        async with self._exchange:
            if self._closed:
                return
            await self._uploader.close(EXCHANGE_SECONDS)
            earlier = self.stats()
            await successor.start()
            # both at once: nobody who reads in between counts anything twice
            self._earlier, self._uploader = earlier, successor
            self._settings = _settings(config)


def _settings(config: Config) -> tuple[object, ...]:
    """What an uploader reads of a configuration."""
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
