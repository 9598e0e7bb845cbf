"""Locks in the data folder that keep processes apart; the system frees them however a process ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flywheel_core.errors import StorageError, UsageError
from flywheel_core.lake.atomic import own_folder


@contextmanager
def only_one(path: Path, taken: str, hint: str) -> Iterator[None]:
    """Hold the lock file `path` for this process; its folder is made if there is none.

    Raises UsageError with the message `taken` and the hint when another process holds it, StorageError when the
    folder cannot be written.
    """
    try:
        own_folder(path.parent)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StorageError(
            f"cannot write in {path.parent}: {error.strerror}",
            hint="name a folder that this user may write to with --data-dir or storage.data_dir",
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise UsageError(taken, hint=hint) from None
    try:
        yield
    finally:
        os.close(file)
