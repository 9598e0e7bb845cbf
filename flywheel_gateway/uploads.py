"""The uploader in force: one at a time on the spool folder, exchanged when the configuration changes its settings."""

import asyncio
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
        self._earlier: Mapping[str, Any] | None = None

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
        """Send through what `prepare` gave from now on. Raises StorageError when the spool cannot be opened again."""
        async with self._exchange:
            await self._uploader.close(EXCHANGE_SECONDS)
            self._earlier = self.stats()
            await successor.start()
            self._uploader = successor
            self._settings = _settings(config)

    def stats(self) -> Mapping[str, Any]:
        """What the uploaders counted so far, as `Uploader.stats`; its invariant holds across exchanges too."""
        now, earlier = self._uploader.stats(), self._earlier
        if earlier is None:
            return now
        totals = {name: earlier[name] + now[name] for name in _TOTALS}
        totals["offered"] -= earlier["spooled"]  # the successor counts what it found in the spool
        return {**now, **totals}

    async def close(self, deadline: float) -> None:
        """Send what can be sent within `deadline` s; the rest stays in the spool."""
        await self._uploader.close(deadline)


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
