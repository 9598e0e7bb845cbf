"""Notices that a file was replaced while it was read, where several reads have to be of one content."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flywheel_core.errors import StorageError
from flywheel_core.lake.atomic import Mark, mark_of

TRIES = 3
"""How often reading is begun, before what changes all the time is an error."""


class ChangedError(Exception):
    """A file was replaced while it was read: what was read of it does not belong together."""


@contextmanager
def unchanged(marks: Mapping[Path, Mark]) -> Iterator[None]:
    """Raise ChangedError, also in place of a StorageError of the block, if a file has another mark at its end.

    marks: file -> what `mark_of` returned before the first read.
    """
    failure = None
    try:
        yield
    except StorageError as error:
        failure = error
    if any(mark_of(path) != mark for path, mark in marks.items()):
        raise ChangedError from failure
    if failure:
        raise failure
