"""Allow only one collector process per set of files."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from flywheel_core.errors import StorageError, UsageError
from flywheel_core.lake.atomic import own_folder
from flywheel_core.lake.layout import Layout


@contextmanager
def only_writer(layout: Layout, writer: str | None) -> Iterator[None]:
    """Hold the raw files of `writer` for this process.

    The operating system releases the lock however the process ends. Raises UsageError when another process
    holds them, StorageError when the folder cannot be written.
    """
    path = layout.raw / (f".collector.{writer}.lock" if writer else ".collector.lock")
    try:
        own_folder(layout.raw)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StorageError(
            f"cannot write in {layout.raw}: {error.strerror}",
            hint="name a folder that this user may write to with --data-dir or storage.data_dir",
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise UsageError(
            f"another collector writes to {layout.raw}" + (f" as {writer}" if writer else ""),
            hint="give this one its own name with --writer; the two can then share the folder",
        ) from None
    try:
        yield
    finally:
        os.close(file)
