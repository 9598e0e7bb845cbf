"""The day file that one writer appends to, and the new file that replaces it after a failure."""

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
"""Path of a day's file, given the day and how many times a new file was started on that day."""


class DayFiles:
    """Append lines to the file of a day; `append` returns once they are durable.

    A file is never written again after a failed append: the next append starts a new one. The same happens
    when the file was moved or removed, for instance because it was compressed. `home` is checked before a
    file is opened and after each append, to be sure that the data folder is still the same one. Used by one
    thread at a time.
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
        """Store whole lines under a day. Raises StorageError; none of the lines may then be acknowledged."""
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
        except Exception:  # raised by the iterator `pieces`: some lines may already be written
            self._give_up(file)
            raise

    def seal(self, path: Path) -> None:
        """Repair the end of a file that an earlier run may have left torn or padded. Raises StorageError."""
        try:
            LineFile(self._disk, path, self._buffer, create=False).close()
        except OSError as error:
            raise StorageError(f"cannot mend the end of {path}: {error}") from error

    def tidy(self, today: date) -> None:
        """Cut the padding off the last block, or close the file if its day is over.

        Call while nothing waits to be stored.
        """
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
        """Close the current file.

        A failure to trim it is only logged: the padding left behind is empty lines.
        """
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
        """Never write to `file` again; cut off what was not acknowledged, and remove it if empty then."""
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
