"""Whether the data folder is still the one that the collector began in."""

import errno
from pathlib import Path

from collector_api.disk import Disk


class Home:
    """Knows `folder` again by what it was when it was entered.

    A disk that is unmounted under a running collector leaves an empty mount point: what is written there is hidden once the disk is
    back. And the lock on the files of a writer lies in the folder that was entered, so in another one nobody else is kept out.
    """

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._handle: int | None = None

    def enter(self) -> None:
        """Take the folder that is there now. Raises OSError."""
        self.leave()
        self._handle = self._disk.open_folder(self._folder)

    def check(self) -> None:
        """Raise OSError when the folder's path leads elsewhere than when it was entered, or nowhere."""
        if self._handle is not None and not self._disk.is_at(self._handle, self._folder):
            raise OSError(
                errno.ESTALE,
                f"{self._folder} is not the folder that this collector began in: it was unmounted, moved or replaced. "
                "Bring it back, or restart the collector to write to what is there now",
            )

    def leave(self) -> None:
        """Give the folder back."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._disk.close_folder(handle)
