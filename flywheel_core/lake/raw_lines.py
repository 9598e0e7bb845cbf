"""Cuts raw files, plain or compressed, into chunks of whole lines, without holding a whole file in memory."""

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from flywheel_core.errors import StorageError

CHUNK_BYTES = 8 * 1024 * 1024
"""Bytes of raw text that are read at once. Every data point is shorter; a longer line is not held in memory."""

_BLOCK = 64 * 1024


class Chunk(msgspec.Struct, frozen=True):
    """Bytes `start` up to, not including, `end` of a raw file: whole lines; only the file's last may lack its newline.

    oversized: the chunk is one line that is longer than CHUNK_BYTES.
    """

    path: str
    start: int
    end: int
    oversized: bool = False

    def read(self) -> bytes:
        """Return the chunk's bytes; of an oversized line only the first 64 KiB. Raises StorageError when reading fails."""
        size = min(self.end - self.start, _BLOCK) if self.oversized else self.end - self.start
        try:
            with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123 -- unbuffered, for one pread
                return _read_at(file.fileno(), self.start, size)
        except OSError as error:
            raise StorageError(f"cannot read {self.path}: {error.strerror or error}") from error


class Text(msgspec.Struct, frozen=True):
    """A chunk of a compressed file, like `Chunk` but with the unpacked bytes; `start` counts unpacked bytes.

    size: bytes of the line of an oversized chunk, without its newline, else 0; damage: why the file cannot be unpacked
    beyond these bytes, or None.
    """

    path: str
    start: int
    data: bytes
    oversized: bool = False
    size: int = 0
    damage: str | None = None

    def read(self) -> bytes:
        """Return the chunk's bytes; of an oversized line only the first 64 KiB."""
        return self.data


def file_size(path: Path) -> int:
    """Return the size of a raw file in bytes.

    Raises StorageError when it is missing or not a regular file: opening a named pipe would block forever.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    if not stat.S_ISREG(found.st_mode):
        raise StorageError(
            f"cannot read {path}: it is not a file",
            hint="it is named like a raw file of the collector: move it away",
        )
    return found.st_size


def plain_chunks(path: Path, size: int | None = None) -> Iterator[Chunk]:
    """Yield the chunks of the first `size` bytes of a plain file (its current size unless given).

    Raises StorageError when the file cannot be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            handle = file.fileno()
            total = os.fstat(handle).st_size if size is None else size
            start = 0
            while start < total:
                end, oversized = _cut(handle, start, total)
                yield Chunk(str(path), start, end, oversized)
                start = end
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error


def unpacked_chunks(path: Path) -> Iterator[Text]:
    """Yield the chunks of a gzip file; of a damaged one, all that can be unpacked, then a chunk that names the damage.

    Raises StorageError when the file cannot be read.
    """
    pending = bytearray()
    start = 0
    long: Text | None = None  # the oversized line whose end is not unpacked yet
    damage = None
    pieces = _unpack(path)
    while True:
        try:
            pending += next(pieces)
        except StopIteration:
            break
        except zlib.error as error:
            damage = str(error)
            break
        if long:
            at = pending.find(b"\n")
            dropped = at + 1 if at >= 0 else len(pending)
            del pending[:dropped]
            start += dropped
            if at >= 0:
                yield msgspec.structs.replace(long, size=start - 1 - long.start)
                long = None
        if len(pending) >= CHUNK_BYTES:
            at = pending.rfind(b"\n")
            if at >= 0:
                yield Text(str(path), start, bytes(pending[: at + 1]))
                start += at + 1
                del pending[: at + 1]
            else:
                long = Text(str(path), start, bytes(pending[:_BLOCK]), oversized=True)
                start += len(pending)
                pending.clear()
    if long:
        yield msgspec.structs.replace(long, size=start - long.start)
    whole = pending.rfind(b"\n") + 1 if damage else len(pending)
    if whole:
        yield Text(str(path), start, bytes(pending[:whole]))
    if damage:
        yield Text(str(path), start + whole, bytes(pending[whole:]), damage=damage)


def whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a raw file, plain or compressed, without newlines, each with its offset in unpacked bytes.

    Blank lines are left out. Meant for single data points: a line is held whole, however long. Raises StorageError when the file is missing, not a
    regular file, or damaged.
    """
    offset = 0
    file_size(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                if not line.isspace():
                    yield offset, line.removesuffix(b"\n")
                offset += len(line)
    except (OSError, EOFError, zlib.error) as error:
        raise StorageError(f"cannot read {path}: {error}") from error


def _cut(handle: int, start: int, total: int) -> tuple[int, bool]:
    """Return where the chunk that begins at `start` ends, and whether it is one oversized line."""
    target = start + CHUNK_BYTES
    if target >= total:
        return total, False
    end = target
    while end > start:
        block_start = max(start, end - _BLOCK)
        at = _read_at(handle, block_start, end - block_start).rfind(b"\n")
        if at >= 0:
            return block_start + at + 1, False
        end = block_start
    end = target
    while end < total:
        block = _read_at(handle, end, min(_BLOCK, total - end))
        at = block.find(b"\n")
        if at >= 0:
            return end + at + 1, True
        if not block:
            break
        end += len(block)
    return total, True


def _read_at(handle: int, start: int, size: int) -> bytes:
    """Return `size` bytes from `start`; fewer only when the file ends before."""
    found = os.pread(handle, size, start)
    while len(found) < size:
        more = os.pread(handle, size - len(found), start + len(found))
        if not more:
            break
        found += more
    return found


def _unpack(path: Path) -> Iterator[bytes]:
    """Yield the unpacked pieces of a gzip file of one or more members.

    Raises zlib.error when the file is damaged, StorageError when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            unpacker = zlib.decompressobj(wbits=31)
            between_members = True
            while block := file.read(_BLOCK):
                while block:
                    if between_members and not (block := block.lstrip(b"\0")):
                        break  # zero padding between or after members
                    yield from _unpack_block(unpacker, block)
                    between_members = unpacker.eof
                    block = unpacker.unused_data
                    if between_members:
                        unpacker = zlib.decompressobj(wbits=31)
            if not between_members:
                raise zlib.error("the file ends before its compressed data does")
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error


def _unpack_block(unpacker: "zlib._Decompress", block: bytes) -> Iterator[bytes]:
    """Yield what a block unpacks to, in pieces of bounded size; in a damaged block, everything before the damage."""
    while block:
        before = unpacker.copy()
        try:
            piece = unpacker.decompress(block, CHUNK_BYTES)
        except zlib.error:
            for at in range(len(block)):  # byte by byte up to the damage, which then raises again
                if piece := before.decompress(block[at : at + 1]):
                    yield piece
            raise
        yield piece
        block = unpacker.unconsumed_tail
