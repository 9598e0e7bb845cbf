"""One append-only file of lines that is written in whole blocks and synced at every append.

Direct writes of whole blocks are three times as fast here as writes through the page cache. The last block is filled
up with newlines, which `trim` cuts off again, and is written anew by the next append: with the same bytes in front,
so that a write torn by a crash leaves every synced line as it was.
"""

import mmap
from collections.abc import Iterable
from pathlib import Path

from collector_api.disk import BLOCK, Disk

_LOOK_BACK = 64 * 1024


def write_buffer(size: int) -> mmap.mmap:
    """Memory for `LineFile` to gather writes of at most `size` bytes in: aligned, as direct writes need it."""
    return mmap.mmap(-1, -(-size // BLOCK) * BLOCK)


class LineFile:
    """A file of lines, open for appending by this process alone.

    `size` counts the bytes that are durable. Whoever gets an OSError from `append` must not use the file any more: what
    it holds beyond `size` is unknown. The buffer may be shared by files that one thread writes.
    """

    def __init__(self, disk: Disk, path: Path, buffer: mmap.mmap, *, create: bool) -> None:
        """Create the file, or open it and seal what a crash left at its end. Raises OSError."""
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
        """Write whole lines and sync them. Raises OSError; the file is then to be given up."""
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
        """Whether the file is still where it was opened: somebody may have moved or removed it. Raises OSError."""
        return self._disk.is_at(self._file, self.path)

    def trim(self) -> None:
        """Cut off the newlines that fill up the last block. Raises OSError."""
        if self._padded:
            self._cut()

    def close(self, *, cut: bool = False) -> None:
        """Trim and close; with `cut` whatever there may be beyond `size` goes, after a failed append. Raises OSError."""
        try:
            if cut or self._padded:
                self._cut()
        finally:
            self._disk.close(self._file)

    def _cut(self) -> None:
        self._disk.truncate(self._file, self.size)
        self._padded = False

    def _seal(self) -> None:
        """Find the end of the last line; end a line that a crash has torn, so that nothing is ever added to it."""
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
