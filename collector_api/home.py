"""Detect that the data folder has been unmounted, moved or replaced under a running collector."""

import errno
from pathlib import Path

from collector_api.disk import Disk


class Home:
    """Remembers which folder was at a path on entry, and detects when another one is there.

    A disk that is unmounted under a running collector leaves an empty mount point: whatever is written there
    becomes invisible once the disk is mounted again. Besides, the writer's lock file is in the folder that
    was entered, so in any other folder nothing keeps a second collector out.
    """

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._handle: int | None = None

    def enter(self) -> None:
        """Remember the folder that is at the path now. Raises OSError."""
        self.leave()
        self._handle = self._disk.open_folder(self._folder)

    def check(self) -> None:
        """Raise OSError if the path leads to a different folder than on entry, or to none."""
        if self._handle is not None and not self._disk.is_at(self._handle, self._folder):
            raise OSError(
                errno.ESTALE,
                f"{self._folder} is not the folder that this collector began in: it was unmounted, moved or replaced. "
                "Bring it back, or restart the collector to write to what is there now",
            )

    def leave(self) -> None:
        """Release the folder."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._disk.close_folder(handle)
