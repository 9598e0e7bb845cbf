"""Writes files and folders atomically and durably.

A reader never sees a partly written file: it is written under another name in the same folder, synced and renamed, and
the folder is synced.
"""

import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flywheel_core.errors import StorageError

Mark = tuple[int, int, int] | None
"""Fingerprint of a file; see `mark_of`."""


def sync_folder(folder: Path) -> None:
    """Sync `folder`, so that the names in it are durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def own_folder(folder: Path) -> None:
    """Create a folder and its missing parents, closed to other users because they will hold questions and answers.

    Their mode is 0750. Raises OSError when one cannot be created.
    """
    if not folder.is_dir():
        if not folder.parent.exists():  # if the parent is a file, the error of mkdir names it
            own_folder(folder.parent)
        folder.mkdir(mode=0o750, exist_ok=True)


def make_folder(folder: Path, sync: Callable[[Path], None] = sync_folder) -> None:
    """Create a folder as `own_folder` does, and sync all its parents so that every name is durable.

    Parents that existed before are synced too: an earlier process may have been killed before it synced them. Raises
    OSError when a folder cannot be created or synced.
    """
    own_folder(folder)
    above = folder.resolve()
    while not above.is_mount():
        above = above.parent
        try:
            sync(above)
        except PermissionError:
            break  # a folder that may not be read was not created by Flywheel


def sync_file(path: Path) -> None:
    """Sync `path`, so that its content is durable."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def half_made(path: Path) -> Path:
    """Return a hidden name beside `path` for something that is being written to `path` or removed from there.

    Readers ignore such names, and `leftovers.py` removes what a killed process leaves under one.
    """
    return path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; the file written there replaces `path` when the block ends without error.

    It keeps owner, group and mode of the one before. When `path` is a symbolic link, the file that it points to is
    replaced. Raises StorageError, naming the path, when
    it cannot be written, or when it exists and is not a file: replacing a device such as /dev/null would make it a
    file. Nothing is left behind on failure.
    """
    try:
        if path.exists() and not path.is_file():
            raise StorageError(f"cannot write {path}: it exists and is not a file", hint="name a file")
        target = path.resolve() if path.is_symlink() else path
        own_folder(target.parent)
    except OSError as error:
        raise StorageError(f"cannot make the folder {path.parent}: {error.strerror or error}") from error
    temporary = half_made(target)
    try:
        yield temporary
        _take_over(temporary, target)
        sync_file(temporary)
        temporary.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # as on a read-only disk: this error would hide the one that says what failed
            temporary.unlink(missing_ok=True)


def _take_over(file: Path, before: Path) -> None:
    """Give `file` the owner, group and mode of `before`, which somebody may have closed to others, if that exists.

    Nothing is changed where the system refuses a part: with the mode alone, the owner could lose access.
    """
    with suppress(OSError):
        found = before.stat()
        os.chown(file, found.st_uid, found.st_gid)
        file.chmod(stat.S_IMODE(found.st_mode))


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path`, atomically and durably. Raises StorageError in the same cases as `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def publish_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Create the folder `path` in one step, with what `fill` writes into the temporary folder that it is given.

    An existing `path` is left as it is, because versions are immutable. Raises StorageError when it cannot be written.
    """
    temporary = half_made(path)
    try:
        own_folder(path.parent)
        temporary.mkdir(mode=0o750)
        fill(temporary)
        for entry in sorted(temporary.rglob("*")):
            if entry.is_file():
                sync_file(entry)
        sync_folder(temporary)
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def set_aside(folder: Path) -> None:
    """Rename a version that is not whole as something half-made, which `leftovers.py` removes.

    Raises StorageError when the system refuses.
    """
    try:
        folder.rename(half_made(folder))
    except OSError as error:
        raise StorageError(f"cannot move {folder} aside: {error.strerror or error}") from error


def mark_of(path: Path) -> Mark:
    """Return what any change of a file alters: time, size and inode; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content in hex. Raises StorageError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
