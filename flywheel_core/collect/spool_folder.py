"""The folder of a spool, which belongs to one process and may be removed, unmounted or replaced meanwhile."""

import errno
import os
from pathlib import Path

from flywheel_core.errors import StorageError
from flywheel_core.lake.atomic import make_folder
from flywheel_core.lake.lock import locked


class SpoolFolder:
    """The folder `path`, locked for this process from `take` until `release`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._home: int | None = None
        self._lock: int | None = None

    def take(self) -> None:
        """Make the folder if there is none, and lock it.

        Raises StorageError when another process holds it or it cannot be locked, OSError when it cannot be made
        or opened.
        """
        try:
            make_folder(self.path)
            self._home = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            if not locked(self._lock, self.path / "lock", wait=False):
                raise StorageError(
                    f"the spool {self.path} belongs to another running process",
                    hint="give each gateway its own data folder",
                )
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the folder up; its content stays."""
        for handle in (self._lock, self._home):
            if handle is not None:
                os.close(handle)
        self._home = self._lock = None

    def check(self) -> None:
        """Make the folder again if it was deleted; raise OSError if another one has taken its place.

        After a disk is unmounted, whatever is written to its mount point becomes invisible once it is mounted
        again.
        """
        if self._deleted:
            self.release()
            self.take()
        elif not self._in_place:
            raise OSError(
                errno.ESTALE,
                "the folder was unmounted, moved or replaced; bring it back, or restart the gateway",
            )

    def removed_for_good(self, file: Path) -> bool:
        """Return whether `file` in it is gone, and not only away with a disk that may come back, or out of reach."""
        try:
            file.stat()
        except FileNotFoundError:
            return self._deleted or self._in_place
        except OSError:
            return False
        return False

    @property
    def _deleted(self) -> bool:
        return self._home is None or os.fstat(self._home).st_nlink == 0

    @property
    def _in_place(self) -> bool:
        return self._home is not None and leads_to(self.path, self._home)


def leads_to(path: Path, handle: int) -> bool:
    """Return whether `path` is still the file or folder that was opened as `handle`."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
