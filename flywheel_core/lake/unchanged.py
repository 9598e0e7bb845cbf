"""Notices that a file was replaced while it was read, where several reads have to be of one content."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flywheel_core.errors import StorageError
from flywheel_core.lake.atomic import Mark, mark_of

TRIES = 10
"""How often reading is begun, before what changes all the time is an error."""
WAIT_SECONDS = 0.1
"""How long to wait before the second try; twice as long before each further one, up to LONGEST_WAIT_SECONDS.

A backfill beside replaces one day of a window after the other: tries without a wait would all meet one of them.
"""
LONGEST_WAIT_SECONDS = 10.0


class ChangedError(Exception):
    """A file was replaced while it was read: what was read of it does not belong together."""


def tries() -> Iterator[int]:
    """Yield the number of each try, from 0, after the wait before it."""
    for number in range(TRIES):
        if number:
            time.sleep(min(WAIT_SECONDS * 2 ** (number - 1), LONGEST_WAIT_SECONDS))
        yield number


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
