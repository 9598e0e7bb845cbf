"""Check whether the disk has room for more data points."""

import logging
import math
import time
from pathlib import Path

from collector_api.disk import Disk
from collector_api.metrics import CollectorMetrics
from flywheel_core.errors import RequestError
from flywheel_core.trouble import Trouble

log = logging.getLogger("flywheel.collector")

RETRY_AFTER = 2
"""Seconds after which a sender should retry when storing failed."""

_FULL_RETRY_AFTER = 30
_LOOK_SECONDS = 1.0


class Room:
    """Free space of the file system that holds `folder`, compared with `floor` in bytes.

    Measured at most once a second.
    """

    def __init__(self, disk: Disk, folder: Path, floor: int, metrics: CollectorMetrics) -> None:
        self._disk = disk
        self._folder = folder
        self._floor = floor
        self._looked = 0.0
        self._free = 0
        self._full, self._unknown = Trouble(log), Trouble(log)
        metrics.disk_free_bytes.set_function(self._shown)

    def check(self) -> None:
        """Raise RequestError `disk_full` if there is less free space than the floor.

        Raises `storage_unavailable` when the free space cannot be read. Only the start and the end of each
        condition are logged.
        """
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS or not self._looked:
            try:
                self._free = self._disk.free_bytes(self._folder)
            except OSError as error:
                self._unknown.met("free_space_unknown", extra={"error": str(error)})
                raise RequestError("storage_unavailable", retry_after=RETRY_AFTER) from None
            self._unknown.gone("free_space_known_again")
            self._looked = now
        free = {"free_bytes": self._free}
        if self._free < self._floor:
            self._full.met("disk_full", extra=free)
            raise RequestError("disk_full", retry_after=_FULL_RETRY_AFTER)
        self._full.gone("disk_has_room", extra=free)

    def _shown(self) -> float:
        """Return the free bytes for /metrics, which is read also while no request comes; NaN if unknown."""
        try:
            return self._disk.free_bytes(self._folder)
        except OSError:
            return math.nan
