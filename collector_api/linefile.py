"""An append-only file of lines, written in whole blocks and synced at every append.

Direct writes of whole blocks are three times as fast here as writes through the page cache. The last block is
padded with newlines, which `trim` cuts off. The next append rewrites that block, beginning with the same
bytes, so a write torn by a crash leaves every synced line intact.
"""

import mmap
from collections.abc import Iterable
from pathlib import Path

from collector_api.disk import BLOCK, Disk

_LOOK_BACK = 64 * 1024


def write_buffer(size: int) -> mmap.mmap:
    """Return a buffer of at least `size` bytes for `LineFile`, aligned as direct writes require."""
    return mmap.mmap(-1, -(-size // BLOCK) * BLOCK)


class LineFile:
    """A file of lines that only this process appends to.

    `size` is the number of durable bytes. After an OSError from `append` the file must not be written again:
    what it holds beyond `size` is unknown. Files written by the same thread may share one buffer.
    """

    def __init__(self, disk: Disk, path: Path, buffer: mmap.mmap, *, create: bool) -> None:
        """Create the file, or open it and repair what a crash left at its end. Raises OSError."""
        self.path = path
        self.size = 0
        self._disk = disk
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._tail = b""
        self._padded = False
        self._file = disk.open(path, create=create)
        try:
            disk.sync_folder(path.parent)
            if not create:
                self._seal()
        except OSError:
            disk.close(self._file)
            raise

    def append(self, pieces: Iterable[bytes]) -> None:
        """Write whole lines and sync them. Raises OSError; the file must not be written again after that."""
        fill = len(self._tail)
        offset = self.size - fill
        self._buffer[:fill] = self._tail
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                part = rest[: len(self._buffer) - fill]
                self._buffer[fill : fill + len(part)] = part
                fill += len(part)
                rest = rest[len(part) :]
                if fill == len(self._buffer):
                    self._disk.write(self._file, self._view, offset)
                    offset += fill
                    fill = 0
        end = -(-fill // BLOCK) * BLOCK
        self._buffer[fill:end] = b"\n" * (end - fill)
        if end:
            self._disk.write(self._file, self._view[:end], offset)
        self._disk.sync(self._file)
        self.size = offset + fill
        self._tail = self._buffer[fill - fill % BLOCK : fill]
        self._padded = end > fill

    def is_in_place(self) -> bool:
        """Return whether the file is still at its path, neither moved nor removed. Raises OSError."""
        return self._disk.is_at(self._file, self.path)

    def trim(self) -> None:
        """Cut off the newlines that pad the last block. Raises OSError."""
        if self._padded:
            self._cut()

    def close(self, *, cut: bool = False) -> None:
        """Trim and close.

        With `cut`, for use after a failed append, drop everything beyond `size`. Raises OSError.
        """
        try:
            if cut or self._padded:
                self._cut()
        finally:
            self._disk.close(self._file)

    def _cut(self) -> None:
        self._disk.truncate(self._file, self.size)
        self._padded = False

    def _seal(self) -> None:
        """Find the end of the last line; terminate a torn line so that nothing is ever appended to it."""
        size = self._disk.size(self._file)
        look = _LOOK_BACK
        end = self._disk.read_end(self.path, look)
        while len(end.rstrip(b"\n")) < BLOCK and len(end) < size:
            look *= 2
            end = self._disk.read_end(self.path, look)
        content = size - len(end) + len(end.rstrip(b"\n"))
        torn = 0 < content == size
        self.size = content if torn or not content else content + 1
        self._padded = size > self.size
        stop = len(end) - (size - self.size)
        self._tail = end[stop - self.size % BLOCK : stop]
        if torn:
            self.append([b"\n"])
        self.trim()
