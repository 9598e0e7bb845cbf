"""Where everything lies under the data folder, and the only ways a file there is written.

A reader never sees half a file: it is written beside its place, synced, renamed, and the folder is synced.
"""

import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from flywheel_core.errors import StorageError, UsageError

RAW_NAME = re.compile(
    r"training_data_(?P<day>\d{8})(?:\.(?P<writer>[A-Za-z0-9_-]+?))?(?:\.(?P<part>\d+))?\.jsonl(?P<gz>\.gz)?"
)
"""`training_data_YYYYMMDD[.WRITER][.PART].jsonl[.gz]`; PART counts the fresh files after a failed write."""

IMPORTED_NAME = re.compile(r"training_data_\d{8}\.import-[0-9a-f]{12}\.jsonl(?:\.gz)?")
"""A raw file that `flywheel import` made: the times of its points are of its day."""

_REJECTED_NAME = re.compile(r"rejected_(?P<day>\d{8})(?:\..+)?\.jsonl(?:\.gz)?")
_TABLE_NAME = re.compile(r"(?P<day>\d{4}-\d{2}-\d{2})\.parquet")
_FIRST_OF_1970 = date(1970, 1, 1).toordinal()


def parse_day(text: str) -> date:
    """The day that `text` names: `2026-01-05`, `20260105`, `today` or `yesterday` (UTC).

    Raises UsageError for anything else.
    """
    if text in ("today", "yesterday"):
        today = datetime.now(UTC).date()
        return today if text == "today" else date.fromordinal(today.toordinal() - 1)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a day", hint="write it as 2026-01-05, 20260105, today or yesterday"
        ) from None


def day_of(unix_seconds: float) -> date:
    """The UTC day of a unix time."""
    return date.fromordinal(_FIRST_OF_1970 + int(unix_seconds // 86_400))


def first_second(day: date) -> float:
    """The unix time at which a UTC day begins."""
    return (day.toordinal() - _FIRST_OF_1970) * 86_400.0


@dataclass(frozen=True)
class Layout:
    """Every path under the data folder `root`. Makes folders only where it writes."""

    root: Path

    @property
    def raw(self) -> Path:
        """Raw day files, as received."""
        return self.root / "raw"

    @property
    def rejected(self) -> Path:
        """Data points that the collector set aside, with the reason, by day."""
        return self.root / "rejected"

    @property
    def tables(self) -> Path:
        """One folder a table, one Parquet file a day."""
        return self.root / "tables"

    @property
    def datasets(self) -> Path:
        """One folder a dataset version."""
        return self.root / "datasets"

    @property
    def routers(self) -> Path:
        """One folder a router version, and the pointer to the champion."""
        return self.root / "routers"

    @property
    def spool(self) -> Path:
        """What a gateway has not uploaded yet."""
        return self.root / "spool"

    @property
    def decisions(self) -> Path:
        """Logs of routing decisions, one file a day."""
        return self.root / "decisions"

    @property
    def reports(self) -> Path:
        """Evaluations of routers, and HTML pages."""
        return self.root / "reports"

    def evaluation(self, version: str, kind: str) -> Path:
        """The evaluation of a router version; kind: `json` for its figures, `html` for the page of them."""
        return self.reports / f"evaluation-{version}.{kind}"

    @property
    def keys(self) -> Path:
        """Hashes of the keys that the collector accepts from gateways."""
        return self.root / "keys.json"

    @property
    def client_keys(self) -> Path:
        """Hashes of the keys that the gateway accepts from its clients: a client may not write training data."""
        return self.root / "client_keys.json"

    def raw_file(self, day: date, writer: str | None = None, part: int = 0) -> Path:
        """The raw file of a day, of one writer, the `part`-th fresh start of that day."""
        pieces = [f"training_data_{day:%Y%m%d}", writer, str(part) if part else None, "jsonl"]
        return self.raw / ".".join(piece for piece in pieces if piece)

    def rejected_file(self, day: date, writer: str | None = None, part: int = 0) -> Path:
        """The file of data points set aside on a day, of one writer, the `part`-th fresh start of that day."""
        pieces = [f"rejected_{day:%Y%m%d}", writer, str(part) if part else None, "jsonl"]
        return self.rejected / ".".join(piece for piece in pieces if piece)

    def raw_files(self, day: date) -> list[Path]:
        """All raw files of a day, of every writer, compressed or not, in order of name."""
        return [path for found, path in _entries(self.raw, RAW_NAME) if found == day]

    def raw_days(self) -> list[date]:
        """The days that have a raw file, in order."""
        return sorted({day for day, _ in _entries(self.raw, RAW_NAME)})

    def raw_files_by_day(self) -> dict[date, list[Path]]:
        """All raw files under their days, both in order: one look at the folder however many days there are."""
        found: dict[date, list[Path]] = {}
        for day, path in sorted(_entries(self.raw, RAW_NAME)):
            found.setdefault(day, []).append(path)
        return found

    def rejected_files_by_day(self) -> list[tuple[date, Path]]:
        """All files of data points set aside, each with its day, in order of name."""
        return _entries(self.rejected, _REJECTED_NAME)

    def table(self, name: str, day: date) -> Path:
        """The Parquet file of a table and day."""
        return self.tables / name / f"{day.isoformat()}.parquet"

    def table_days(self, name: str) -> list[date]:
        """The days for which a table has a file, in order."""
        return sorted(day for day, _ in _entries(self.tables / name, _TABLE_NAME))

    def dataset(self, version: str) -> Path:
        """The folder of a dataset version."""
        return self.datasets / version

    def router(self, version: str) -> Path:
        """The folder of a router version."""
        return self.routers / version


def _entries(folder: Path, pattern: re.Pattern[str]) -> list[tuple[date, Path]]:
    """What in a folder has such a name, each with the day in it, in order of name; nothing where there is no folder.

    Digits that are no day are not ours to read. Not by glob, for which a folder that may not be read is an empty one.
    """
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if matched := pattern.fullmatch(path.name):
            with suppress(ValueError):
                found.append((date.fromisoformat(matched["day"]), path))
    return found


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def own_folder(folder: Path) -> None:
    """Make a folder and the parents that it lacks, closed to other users: what lies in them is questions and answers.

    Raises OSError.
    """
    if not folder.is_dir():
        if not folder.parent.exists():  # a parent that is no folder is named by what follows
            own_folder(folder.parent)
        folder.mkdir(mode=0o750, exist_ok=True)


def make_folder(folder: Path, sync: Callable[[Path], None] = sync_folder) -> None:
    """The same, and make their names durable. Raises OSError.

    Also the names of those that are there: an earlier process may have been killed before it had synced them.
    """
    own_folder(folder)
    above = folder.resolve()
    while not above.is_mount():
        above = above.parent
        try:
            sync(above)
        except PermissionError:
            break  # what is not for us to read was not made by us


def sync_file(path: Path) -> None:
    """Make the content of `path` durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def half_made(path: Path) -> Path:
    """A hidden name beside `path` for what is on its way there, or away: readers pass it by, and `leftovers.py` removes it."""
    return path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; what was written there replaces `path` when the block ends well.

    Where `path` is a link, the file that it leads to is replaced. Raises StorageError, naming the path, when the system
    refuses, and for what is there and no file: a device such as /dev/null would be one afterwards. Nothing is left
    behind on failure.
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
        sync_file(temporary)
        temporary.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, durably. Raises StorageError."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def publish_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Make the folder `path` appear at once with what `fill` wrote into the folder it is given.

    An existing `path` is left as it is: versions are immutable. Raises StorageError.
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
        if temporary.exists():
            for entry in sorted(temporary.rglob("*"), reverse=True):
                entry.rmdir() if entry.is_dir() else entry.unlink()
            temporary.rmdir()


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's content. Raises StorageError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
