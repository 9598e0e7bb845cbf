"""The file of the day that one writer appends to, and the fresh one after a failure."""

import errno
import logging
import mmap
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

from collector_api.disk import Disk
from collector_api.home import Home
from collector_api.linefile import LineFile
from flywheel_core.errors import StorageError

log = logging.getLogger("flywheel.collector")

PathOf = Callable[[date, int], Path]
"""The path of a day's file, given how many fresh starts that day has seen."""


class DayFiles:
    """Appends lines to the file of a day: `append` returns once they are durable.

    After an append that failed the file at hand is never written again: the next append goes to a fresh one. So it
    does when the file was moved or removed, for instance packed. home: what is asked before a file is begun and after each
    append whether the data folder is where it was. Used by one thread at a time.
    """

    def __init__(self, disk: Disk, path_of: PathOf, buffer: mmap.mmap, home: Home) -> None:
        self._disk = disk
        self._home = home
        self._path_of = path_of
        self._buffer = buffer
        self._file: LineFile | None = None
        self._day: date | None = None
        self._given_up: set[Path] = set()

    def append(self, day: date, pieces: Iterable[bytes]) -> None:
        """Store whole lines under a day. Raises StorageError: nothing of these lines may be acknowledged."""
        try:
            file = self._file_of(day)
        except OSError as error:
            raise StorageError(f"cannot open the file of {day}: {error}") from error
        try:
            file.append(pieces)
            if not file.is_in_place():
                raise OSError(errno.ENOENT, "it was moved or removed meanwhile")
            self._home.check()
        except OSError as error:
            self._give_up(file)
            raise StorageError(f"cannot write to {file.path}: {error}") from error
        except Exception:  # of the pieces: some may be written already
            self._give_up(file)
            raise

    def seal(self, path: Path) -> None:
        """Mend the end of a file that an earlier run may have left torn or filled up. Raises StorageError."""
        try:
            LineFile(self._disk, path, self._buffer, create=False).close()
        except OSError as error:
            raise StorageError(f"cannot mend the end of {path}: {error}") from error

    def tidy(self, today: date) -> None:
        """While nothing is to be stored: cut off what fills up the last block; close a file whose day is over."""
        if self._file is None:
            return
        if self._day != today:
            self.close()
            return
        try:
            self._file.trim()
        except OSError as error:
            log.warning("trim_failed", extra={"path": str(self._file.path), "error": str(error)})

    def close(self) -> None:
        """Close the file at hand. A failure to trim it is logged: what stays behind are empty lines."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.close()
        except OSError as error:
            log.warning("close_failed", extra={"path": str(file.path), "error": str(error)})

    def _file_of(self, day: date) -> LineFile:
        if self._file is not None and self._day == day:
            if self._file.is_in_place():
                return self._file
            log.warning("file_gone", extra={"path": str(self._file.path)})
        self.close()
        self._home.check()
        folder = self._path_of(day, 0).parent
        self._disk.make_folder(folder)
        names = set(self._disk.names(folder))
        part = 0
        while self._path_of(day, part + 1).name in names:
            part += 1
        path = self._path_of(day, part)
        if path in self._given_up:
            path = self._path_of(day, part + 1)
        self._file = LineFile(self._disk, path, self._buffer, create=path.name not in names)
        self._day = day
        return self._file

    def _give_up(self, file: LineFile) -> None:
        """Never write to `file` again; what was not acknowledged is cut off, and a file without anything else removed."""
        self._file = None
        self._given_up.add(file.path)
        try:
            empty = file.size == 0 and file.is_in_place()
            file.close(cut=True)
            if empty:
                self._disk.remove(file.path)
                self._given_up.discard(file.path)
        except OSError as error:
            log.warning("cut_failed", extra={"path": str(file.path), "error": str(error)})
