"""The seam to the file system: every call by which the collector touches files, and no decision.

A model file system that forgets what was not synced can stand in for `Disk`.
"""

import errno
import fcntl
import os
import shutil
from pathlib import Path

from flywheel_core.lake.layout import make_folder, sync_folder

BLOCK = 4_096
"""Bytes to which offsets and sizes of writes are aligned, so that they may pass the page cache by."""


class Disk:
    """Files of the running system. Every method raises OSError when the system refuses."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder and its parents durable; one that exists is fine."""
        make_folder(folder, self.sync_folder)

    def names(self, folder: Path) -> list[str]:
        """The names in a folder, in order."""
        return sorted(path.name for path in folder.iterdir())

    def open(self, path: Path, *, create: bool) -> int:
        """Open a file for aligned writes. With `create` it must not exist yet; the folder is not synced."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        file = os.open(path, flags, 0o640)
        try:
            self._pass_cache_by(file, True)
        except OSError as error:
            # EINVAL is a file system without direct writes: they go through its cache.
            if error.errno != errno.EINVAL:
                os.close(file)
                raise
        return file

    def write(self, file: int, data: memoryview, offset: int) -> None:
        """Write whole blocks at a multiple of BLOCK. A short write is an error."""
        try:
            written = os.pwrite(file, data, offset)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._pass_cache_by(file, False)  # some file systems promise direct writes and then refuse them
            written = os.pwrite(file, data, offset)
        if written != data.nbytes:
            raise OSError(errno.EIO, f"only {written} of {data.nbytes} bytes were written")

    def _pass_cache_by(self, file: int, on: bool) -> None:
        flags = fcntl.fcntl(file, fcntl.F_GETFL)
        fcntl.fcntl(file, fcntl.F_SETFL, flags | os.O_DIRECT if on else flags & ~os.O_DIRECT)

    def open_folder(self, folder: Path) -> int:
        """A handle by which a folder is known again; `close_folder` gives it back."""
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close_folder(self, handle: int) -> None:
        """Give back what `open_folder` gave."""
        os.close(handle)

    def sync(self, file: int) -> None:
        """Return once what was written to the file is durable."""
        os.fdatasync(file)

    def is_at(self, file: int, path: Path) -> bool:
        """Whether `path` still leads to the open file or folder."""
        try:
            return os.path.samestat(os.fstat(file), path.stat())
        except (FileNotFoundError, NotADirectoryError):
            return False

    def size(self, file: int) -> int:
        """Bytes in the file."""
        return os.fstat(file).st_size

    def truncate(self, file: int, size: int) -> None:
        """Cut the file off, or lengthen it, at `size`; not synced."""
        os.ftruncate(file, size)

    def close(self, file: int) -> None:
        """Close the file."""
        os.close(file)

    def read_end(self, path: Path, size: int) -> bytes:
        """The last `size` bytes of a file, or all of it."""
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - size))
            return file.read()

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        """Return once the names in a folder are durable."""
        sync_folder(folder)

    def free_bytes(self, folder: Path) -> int:
        """Free space of the file system that holds a folder."""
        return shutil.disk_usage(folder).free
