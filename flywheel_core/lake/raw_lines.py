"""Raw files cut into chunks of whole lines, plain or compressed, never a whole file in memory."""

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from flywheel_core.errors import StorageError

CHUNK_BYTES = 8 * 1024 * 1024
"""Bytes of raw text that are taken apart at once. No data point is as long; a longer line is not held in memory."""

_BLOCK = 64 * 1024


class Chunk(msgspec.Struct, frozen=True):
    """Bytes `start` up to `end` of a raw file; whole lines, but for the last of the file, which may lack its newline.

    oversized: it is one line longer than CHUNK_BYTES.
    """

    path: str
    start: int
    end: int
    oversized: bool = False

    def read(self) -> bytes:
        """The chunk's bytes; of an oversized line only the first ones. Raises StorageError."""
        size = min(self.end - self.start, _BLOCK) if self.oversized else self.end - self.start
        try:
            with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123 -- unbuffered, for one pread
                return _read_at(file.fileno(), self.start, size)
        except OSError as error:
            raise StorageError(f"cannot read {self.path}: {error.strerror or error}") from error


class Text(msgspec.Struct, frozen=True):
    """The unpacked bytes of a chunk of a compressed file, as for `Chunk`; offsets count unpacked bytes.

    damage: why the file could not be read on after these bytes.
    """

    path: str
    start: int
    data: bytes
    oversized: bool = False
    damage: str | None = None

    def read(self) -> bytes:
        """The chunk's bytes; of an oversized line only the first ones."""
        return self.data


def file_size(path: Path) -> int:
    """Bytes of a raw file. Raises StorageError when it is missing or no file: to open a named pipe would wait for ever."""
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
    """The chunks of a plain file, up to `size` bytes of it (its present size unless given). Raises StorageError."""
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
    """The chunks of a gzip file. What can be unpacked of a damaged file is given before the damage is named."""
    pending = bytearray()
    start = 0
    skipping = False
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
        if skipping:
            at = pending.find(b"\n")
            dropped = at + 1 if at >= 0 else len(pending)
            skipping = at < 0
            del pending[:dropped]
            start += dropped
        if len(pending) >= CHUNK_BYTES:
            at = pending.rfind(b"\n")
            if at >= 0:
                yield Text(str(path), start, bytes(pending[: at + 1]))
                start += at + 1
                del pending[: at + 1]
            else:
                yield Text(str(path), start, bytes(pending[:_BLOCK]), oversized=True)
                start += len(pending)
                pending.clear()
                skipping = True
    whole = pending.rfind(b"\n") + 1 if damage else len(pending)
    if whole:
        yield Text(str(path), start, bytes(pending[:whole]))
    if damage:
        yield Text(str(path), start + whole, bytes(pending[whole:]), damage=damage)


def whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a raw file, plain or packed, without their newlines, each with its offset in unpacked bytes.

    For looking at points one by one: a line is held whole, however long. Raises StorageError when the file cannot be read on.
    """
    offset = 0
    file_size(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                yield offset, line.removesuffix(b"\n")
                offset += len(line)
    except (OSError, EOFError, zlib.error) as error:
        raise StorageError(f"cannot read {path}: {error}") from error


def _cut(handle: int, start: int, total: int) -> tuple[int, bool]:
    """Where the chunk from `start` ends, and whether it is one oversized line."""
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
    """Up to `size` bytes from `start`; fewer only where the file ends."""
    found = os.pread(handle, size, start)
    while len(found) < size:
        more = os.pread(handle, size - len(found), start + len(found))
        if not more:
            break
        found += more
    return found


def _unpack(path: Path) -> Iterator[bytes]:
    """The unpacked pieces of a gzip file of one or more members. Raises zlib.error where it is damaged."""
    try:
        with path.open("rb") as file:
            unpacker = zlib.decompressobj(wbits=31)
            between_members = True
            while block := file.read(_BLOCK):
                while block:
                    if between_members and not (block := block.lstrip(b"\0")):
                        break  # padding
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
    """What a block unpacks to, in pieces of bounded size; before damage, all that comes before it."""
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
