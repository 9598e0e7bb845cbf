"""The interface to the file system: every call by which the collector touches files, without any decisions.

Tests can replace `Disk` with a model file system that forgets whatever was not synced.
"""

import errno
import fcntl
import os
import shutil
from pathlib import Path

from flywheel_core.lake.atomic import make_folder, sync_folder

BLOCK = 4_096
"""Alignment in bytes of the offset and size of every write, as writes that bypass the page cache require."""


class Disk:
    """The real file system. Every method raises OSError when the operating system refuses."""

    def make_folder(self, folder: Path) -> None:
        """Create a folder and its parents durably; an existing folder is fine."""
        make_folder(folder, self.sync_folder)

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, sorted."""
        return sorted(path.name for path in folder.iterdir())

    def open(self, path: Path, *, create: bool) -> int:
        """Open a file for aligned writes.

        With `create` the file must not exist yet. The folder is not synced.
        """
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        file = os.open(path, flags, 0o640)
        try:
            self._pass_cache_by(file, True)
        except OSError as error:
            # EINVAL means that the file system has no direct writes: fall back to the page cache.
            if error.errno != errno.EINVAL:
                os.close(file)
                raise
        return file

    def write(self, file: int, data: memoryview, offset: int) -> None:
        """Write whole blocks at an offset that is a multiple of BLOCK. A short write raises OSError."""
        try:
            written = os.pwrite(file, data, offset)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._pass_cache_by(file, False)  # some file systems accept O_DIRECT but refuse the write itself
            written = os.pwrite(file, data, offset)
        if written != data.nbytes:
            raise OSError(errno.EIO, f"only {written} of {data.nbytes} bytes were written")

    def _pass_cache_by(self, file: int, on: bool) -> None:
        flags = fcntl.fcntl(file, fcntl.F_GETFL)
        fcntl.fcntl(file, fcntl.F_SETFL, flags | os.O_DIRECT if on else flags & ~os.O_DIRECT)

    def open_folder(self, folder: Path) -> int:
        """Return a handle that identifies a folder whatever its path; release it with `close_folder`."""
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close_folder(self, handle: int) -> None:
        """Release a handle returned by `open_folder`."""
        os.close(handle)

    def sync(self, file: int) -> None:
        """Return once everything written to the file is durable."""
        os.fdatasync(file)

    def is_at(self, file: int, path: Path) -> bool:
        """Return whether `path` still refers to the open file or folder."""
        try:
            return os.path.samestat(os.fstat(file), path.stat())
        except (FileNotFoundError, NotADirectoryError):
            return False

    def size(self, file: int) -> int:
        """Return the size of the file in bytes."""
        return os.fstat(file).st_size

    def truncate(self, file: int, size: int) -> None:
        """Truncate or extend the file to `size` bytes, without a sync."""
        os.ftruncate(file, size)

    def close(self, file: int) -> None:
        """Close the file."""
        os.close(file)

    def read_end(self, path: Path, size: int) -> bytes:
        """Return the last `size` bytes of a file, or the whole file if it is shorter."""
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
        """Return the free bytes of the file system that holds a folder."""
        return shutil.disk_usage(folder).free
