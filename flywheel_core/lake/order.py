"""In which order the versions in a folder were made: a list beside them, because a copy of the folder has times of its own."""

import os
from collections.abc import Iterable
from pathlib import Path

from flywheel_core.errors import StorageError
from flywheel_core.lake.atomic import own_folder

ORDER = "order.txt"


def note_version(folder: Path, version: str) -> None:
    """Put `version`, which is about to be made in `folder` or was asked for again, at the end of the order.

    It is noted before it is made: a process that dies in between leaves a name without a version, which is passed over,
    and not a version without its place. Raises StorageError when the list cannot be read or written.
    """
    path = folder / ORDER
    if next(reversed(_names(path)), None) == version:
        return
    try:
        own_folder(folder)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n{version}")  # in front of it: a torn name before it stays a line of its own
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


def in_order(folder: Path, versions: Iterable[str]) -> list[str]:
    """Return `versions` of `folder`, the one that was noted last at the end.

    Those that were never noted come first, by the day in their name and then by the time of their folder: an earlier
    version of Flywheel made them. Raises StorageError when the list or a folder cannot be read.
    """
    places = {name: place for place, name in enumerate(_names(folder / ORDER))}

    def key(version: str) -> tuple[int, str, int, str]:
        place = places.get(version, -1)
        return place, version[:8], _time_of(folder / version) if place < 0 else 0, version

    return sorted(versions, key=key)


def _names(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").split()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error


def _time_of(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {error.strerror or error}") from error
