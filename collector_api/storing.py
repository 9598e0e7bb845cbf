"""The raw and rejected files of one writer: everything that the committer's thread does with them."""

import itertools
import re
from collections.abc import Iterable, Sequence
from datetime import date

from collector_api.dayfiles import DayFiles
from collector_api.disk import BLOCK, Disk
from collector_api.home import Home
from collector_api.linefile import LineFile, write_buffer
from flywheel_core.errors import StorageError
from flywheel_core.lake.layout import Layout

_JOIN_BYTES = 262_144
"""Up to this many bytes, lines are joined before they go into the write buffer; beyond, the copy costs more."""


class WriterFiles:
    """Store lines under their days. Used by one thread at a time."""

    def __init__(self, layout: Layout, writer: str | None, disk: Disk, commit_bytes: int) -> None:
        self._layout = layout
        self._writer = writer
        self._disk = disk
        self._buffer = write_buffer(commit_bytes + BLOCK)
        self._home = Home(disk, layout.raw)
        self.raw = DayFiles(
            disk, lambda day, part: layout.raw_file(day, writer, part), self._buffer, self._home
        )
        self.rejected = DayFiles(
            disk, lambda day, part: layout.rejected_file(day, writer, part), self._buffer, self._home
        )

    def write(self, day: date, raw: Sequence[bytes], rejected: Sequence[Iterable[bytes]]) -> int:
        """Store whole lines durably and return the number of raw bytes.

        Raises StorageError; no line counts as stored then.
        """
        size = sum(map(len, raw))
        if raw:
            self.raw.append(day, [b"".join(raw)] if size <= _JOIN_BYTES else raw)
        if rejected:
            self.rejected.append(day, itertools.chain.from_iterable(rejected))
        return size

    def mend(self) -> None:
        """Repair files that an earlier run left torn or padded, and pin the data folder for all later writes.

        Raises StorageError.
        """
        for files, folder in ((self.raw, self._layout.raw), (self.rejected, self._layout.rejected)):
            own = re.compile(
                r"(training_data|rejected)_\d{8}"
                + re.escape(f".{self._writer}" if self._writer else "")
                + r"(\.\d+)?\.jsonl"
            )
            try:
                self._disk.make_folder(folder)
                names = self._disk.names(folder)
            except OSError as error:
                raise StorageError(f"cannot read {folder}: {error}") from error
            for name in filter(own.fullmatch, names):
                files.seal(folder / name)
        try:
            self._home.enter()
        except OSError as error:
            raise StorageError(f"cannot read {self._layout.raw}: {error}") from error

    def tidy(self, today: date) -> None:
        """Cut the padding off last blocks and close files whose day is over.

        Call while nothing waits to be stored.
        """
        self.raw.tidy(today)
        self.rejected.tidy(today)

    def close(self) -> None:
        """Close all files."""
        self.raw.close()
        self.rejected.close()
        self._home.leave()

    def probe(self) -> None:
        """Write, sync and remove a file next to the raw files. Raises OSError."""
        self._home.check()
        path = self._layout.raw / (f".probe.{self._writer}" if self._writer else ".probe")
        if path.name in self._disk.names(path.parent):
            self._disk.remove(path)
        file = LineFile(self._disk, path, self._buffer, create=True)
        try:
            file.append([b"probe\n"])
        finally:
            file.close()
            self._disk.remove(path)
