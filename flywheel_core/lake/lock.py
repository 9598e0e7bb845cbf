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
    folder cannot be written or the file cannot be locked.
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
        if not locked(file, path, wait=False):
            raise UsageError(taken, hint=hint)
        yield
    finally:
        os.close(file)


def locked(file: int, path: Path, *, wait: bool) -> bool:
    """Lock the open file at `path` for this process until it is closed; return whether that succeeded.

    wait: until another process gives it up. Raises StorageError where the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageError(
            f"cannot lock {path}: {error.strerror}",
            hint="put the folder on a file system that has locks (flock)",
        ) from error
    return True
