"""Which routers are on disk, and the pointer to the one in service, `data/routers/champion.json`."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from flywheel_core.errors import RouterError, StorageError
from flywheel_core.lake.atomic import own_folder
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.lock import locked
from flywheel_core.lake.order import in_order

MANIFEST = "router.json"
POINTER = "champion.json"
LOCK = ".promotion.lock"


class Champion(msgspec.Struct, frozen=True, kw_only=True):
    """The pointer to the router in service.

    sequence: counts promotions and rollbacks from 1; digest: SHA-256 of the version's router.json; at: when
    it was put into service, unix seconds; since: when the newest test question that its promotion rests on
    was received, unix seconds, so that later questions are new to it, None when it rests on no test question;
    previous: sequence of the champion before it.
    """

    sequence: int
    version: str
    digest: str
    at: float
    since: float | None = None
    previous: int | None = None


def read_champion(pointer: Path) -> Champion | None:
    """Return what the pointer says, None when there is none.

    Raises RouterError when it is damaged or cannot be read.
    """
    try:
        return msgspec.json.decode(pointer.read_bytes(), type=Champion)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RouterError(
            f"{pointer} cannot be read: {error.strerror or error}", code="pointer_damaged"
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RouterError(
            f"{pointer} is damaged: {error}",
            hint="put a version into service with: flywheel router promote VERSION",
            code="pointer_damaged",
        ) from None


def router_versions(layout: Layout) -> list[str]:
    """Return the versions on disk, the one that was made last at the end, without checking that they are whole.

    Raises StorageError when that order cannot be read.
    """
    if not layout.routers.is_dir():
        return []
    folders = layout.routers.iterdir()
    found = [path.name for path in folders if path.name[0] != "." and (path / MANIFEST).is_file()]
    return in_order(layout.routers, found)


def version_folder(layout: Layout, version: str) -> Path:
    """Return the folder of a version. Raises RouterError when there is no version of that name."""
    folder = layout.router(version)
    if folder.parent != layout.routers or version.startswith(".") or not (folder / MANIFEST).is_file():
        raise RouterError(
            f"there is no router {version!r}", hint="flywheel router list shows the versions that exist"
        )
    return folder


def first_whole(layout: Layout, versions: Iterable[str], verify: Callable[[Path], object]) -> str | None:
    """Return the first of the versions that is there and passes `verify`, None when none does."""
    for version in versions:
        with suppress(RouterError):
            verify(version_folder(layout, version))
            return version
    return None


@contextmanager
def one_promoter(layout: Layout) -> Iterator[None]:
    """Let in one promoter at a time, across processes; the system frees the lock when a process dies.

    Raises StorageError when the lock file cannot be written or locked.
    """
    path = layout.routers / LOCK
    try:
        own_folder(path.parent)
        file = path.open("ab")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    with file:
        locked(file.fileno(), path, wait=True)
        yield
