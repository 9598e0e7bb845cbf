"""The on-disk queue of data points to upload: lines in segment files, read from the oldest on.

Lines are on disk and synced when `append` returns. A line torn by a crash was never acknowledged by `append`,
and is removed at the next start. The position is saved after delivery, so a crash in between delivers points
twice rather than not at all. One process owns a spool.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flywheel_core.collect.spool_folder import SpoolFolder, leads_to
from flywheel_core.errors import StorageError
from flywheel_core.lake.atomic import sync_folder, write_atomically

SEGMENT_BYTES = 8_388_608
"""A segment of at least this size gets no further lines."""

SEGMENTS = f"segment-{'[0-9]' * 10}.jsonl"
"""The names of segments as a pattern; a file of another name, such as a copy that somebody made, is not read."""


@dataclass(slots=True)
class _Segment:
    """One file.

    size: bytes of whole lines; taken: bytes of them already delivered; points: lines still to deliver.
    """

    number: int
    path: Path
    size: int
    taken: int
    points: int


class Spool:
    """A queue of lines in `folder` that takes up at most `max_bytes` there. Not thread-safe.

    points: number of lines to deliver; size: bytes of its files, including lines already delivered.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._held = SpoolFolder(folder)
        self._max_bytes = max_bytes
        self._segments: list[_Segment] = []
        self._file: int | None = None
        self._next = 1

    @property
    def points(self) -> int:
        """Number of lines still to deliver."""
        return sum(segment.points for segment in self._segments)

    @property
    def size(self) -> int:
        """Bytes of the segment files on disk."""
        return sum(segment.size for segment in self._segments)

    def open(self) -> None:
        """Lock the folder for this process and find the lines in it.

        Raises StorageError when another process holds the folder, or when it cannot be read or written.
        """
        try:
            self._held.take()
            self._segments.clear()  # of an earlier call that failed midway
            number, taken = self._read_cursor()
            self._next = number + 1  # a saved position must never fit a later segment
            for path in sorted(self._folder.glob(SEGMENTS)):
                self._find(path, number, taken)
        except StorageError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise StorageError(f"cannot open the spool {self._folder}: {error.strerror or error}") from error

    def append(self, lines: Sequence[bytes]) -> int:
        """Append lines (without newlines) and sync them; return how many fitted, counted from the first.

        Raises StorageError when the disk refuses; then none of them is in the spool.
        """
        room = self._max_bytes - self.size
        count, size = 0, 0
        for line in lines:
            if size + len(line) + 1 > room:
                break
            count += 1
            size += len(line) + 1
        if count:
            self._write(b"".join(line + b"\n" for line in lines[:count]), count)
        return count

    def peek(self, max_points: int, max_bytes: int) -> list[bytes]:
        """Return the oldest lines, at least one if there is any, all of one segment; they stay in the spool.

        Raises StorageError when they cannot be read.
        """
        segment = next((segment for segment in self._segments if segment.points), None)
        if segment is None:
            return []
        lines: list[bytes] = []
        size = 0
        try:
            with segment.path.open("rb") as file:
                file.seek(segment.taken)
                while len(lines) < min(max_points, segment.points):
                    line = file.readline()
                    size += len(line)
                    if lines and size > max_bytes:
                        break
                    lines.append(line.rstrip(b"\n"))
        except OSError as error:
            raise StorageError(f"cannot read {segment.path}: {error.strerror or error}") from error
        return lines

    def take(self, lines: Sequence[bytes]) -> None:
        """Remove the oldest lines, as returned by `peek`. Raises StorageError when that cannot be saved."""
        segment = next(segment for segment in self._segments if segment.points)
        segment.taken += sum(len(line) + 1 for line in lines)
        segment.points -= len(lines)
        try:
            if segment.points:
                note = {"segment": segment.number, "taken": segment.taken}
                write_atomically(self._folder / "cursor.json", json.dumps(note).encode())
            else:
                self._remove(segment)
        except OSError as error:
            raise StorageError(f"cannot write in {self._folder}: {error.strerror or error}") from error

    def forget_removed(self) -> int:
        """Give up lines whose files somebody removed for good, and return how many those are.

        Files that are only away, as on a disk that is unmounted for a while, are waited for.
        """
        removed = [segment for segment in self._segments if self._held.removed_for_good(segment.path)]
        for segment in removed:
            self._segments.remove(segment)
        return sum(segment.points for segment in removed)

    def close(self) -> None:
        """Release the folder; its content stays."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._held.release()

    def _read_cursor(self) -> tuple[int, int]:
        path = self._folder / "cursor.json"
        if not path.exists():
            return 0, 0
        try:
            note = json.loads(path.read_bytes())
            return int(note["segment"]), int(note["taken"])
        except (ValueError, TypeError, KeyError):
            raise StorageError(
                f"{path} is damaged", hint="remove it; points delivered since then are sent once more"
            ) from None

    def _find(self, path: Path, cursor: int, taken: int) -> None:
        """Take over an earlier process's segment, without a torn last line and from the saved position on."""
        number = int(path.stem.removeprefix("segment-"))
        self._next = max(self._next, number + 1)
        size = points = 0
        start = taken if number == cursor else 0
        with path.open("r+b") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                points += size >= start
                size += len(line)
            if file.seek(0, os.SEEK_END) > size:
                file.truncate(size)
                os.fsync(file.fileno())
        segment = _Segment(number, path, size, start, points)
        self._segments.append(segment)
        if number < cursor or not points:
            self._remove(segment)

    def _write(self, content: bytes, points: int) -> None:
        segment = self._segments[-1] if self._file is not None and self._segments else None
        try:
            if segment is None or segment.size >= SEGMENT_BYTES or not self._is_open(segment):
                segment = self._begin()
            assert self._file is not None  # noqa: S101 - `_begin` opened it
            written = 0
            while written < len(content):
                written += os.write(self._file, content[written:])
            os.fsync(self._file)
        except OSError as error:
            self._give_up()
            raise StorageError(f"cannot write the spool {self._folder}: {error.strerror or error}") from error
        segment.size += len(content)
        segment.points += points

    def _begin(self) -> _Segment:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._held.check()
        number = self._next
        path = self._folder / f"segment-{number:010d}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        self._next += 1
        segment = _Segment(number, path, 0, 0, 0)
        self._segments.append(segment)
        sync_folder(self._folder)
        return segment

    def _is_open(self, segment: _Segment) -> bool:
        """Return whether the open file is the segment's: what goes to a removed one is gone at a restart."""
        return self._file is not None and leads_to(segment.path, self._file)

    def _give_up(self) -> None:
        """After a failed write, remove what it left in the file, and never write to that file again.

        A file without any other lines is deleted; otherwise a full disk would collect a new one with every
        try.
        """
        if self._file is None:
            return
        handle, self._file = self._file, None
        segment = self._segments[-1]
        try:
            if segment.size:
                os.ftruncate(handle, segment.size)
            else:
                self._segments.remove(segment)
                segment.path.unlink(missing_ok=True)
        except OSError:
            pass  # not read by this process; a later one sends duplicates, known by their ids
        finally:
            os.close(handle)

    def _remove(self, segment: _Segment) -> None:
        if segment is self._segments[-1] and self._file is not None:
            os.close(self._file)
            self._file = None
        self._segments.remove(segment)
        segment.path.unlink(missing_ok=True)
        sync_folder(self._folder)
