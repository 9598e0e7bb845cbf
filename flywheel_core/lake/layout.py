"""The paths of everything under the data folder, and the days in their names."""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from flywheel_core.errors import UsageError

RAW_NAME = re.compile(
    r"training_data_(?P<day>\d{8})(?:\.(?P<writer>[A-Za-z0-9_-]+?))?(?:\.(?P<part>\d+))?\.jsonl(?P<gz>\.gz)?"
)
"""`training_data_YYYYMMDD[.WRITER][.PART].jsonl[.gz]`; PART counts the new files begun after a failed write."""

IMPORTED_NAME = re.compile(r"training_data_\d{8}\.import-[0-9a-f]{12}\.jsonl(?:\.gz)?")
"""A raw file that `flywheel import` wrote: the event times of its points are within its day."""

_REJECTED_NAME = re.compile(r"rejected_(?P<day>\d{8})(?:\..+)?\.jsonl(?:\.gz)?")
_TABLE_NAME = re.compile(r"(?P<day>\d{4}-\d{2}-\d{2})\.parquet")
_FIRST_OF_1970 = date(1970, 1, 1).toordinal()


def parse_day(text: str) -> date:
    """Return the day that `text` names: `2026-01-05`, `20260105`, `today` or `yesterday` (UTC).

    Raises UsageError when it names none.
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
    """Return the UTC day of a unix time in seconds."""
    return date.fromordinal(_FIRST_OF_1970 + int(unix_seconds // 86_400))


def first_second(day: date) -> float:
    """Return the unix time, in seconds, at which a UTC day begins."""
    return (day.toordinal() - _FIRST_OF_1970) * 86_400.0


@dataclass(frozen=True)
class Layout:
    """Every path under the data folder `root`; it creates nothing itself."""

    root: Path

    @property
    def raw(self) -> Path:
        """Raw day files, as received."""
        return self.root / "raw"

    @property
    def rejected(self) -> Path:
        """Data points that the collector rejected, with the reason, by day."""
        return self.root / "rejected"

    @property
    def tables(self) -> Path:
        """One folder per table, with one Parquet file per day."""
        return self.root / "tables"

    @property
    def datasets(self) -> Path:
        """One folder per dataset version."""
        return self.root / "datasets"

    @property
    def routers(self) -> Path:
        """One folder per router version, and the pointer to the champion."""
        return self.root / "routers"

    @property
    def spool(self) -> Path:
        """Data points that a gateway has not uploaded yet, and what its collection has cost."""
        return self.root / "spool"

    @property
    def decisions(self) -> Path:
        """Logs of routing decisions, one file per day."""
        return self.root / "decisions"

    @property
    def reports(self) -> Path:
        """Evaluations of routers, and HTML pages."""
        return self.root / "reports"

    def evaluation(self, version: str, kind: str) -> Path:
        """Return the path of a router version's evaluation; kind: `json` for its figures, `html` for their page."""
        return self.reports / f"evaluation-{version}.{kind}"

    @property
    def keys(self) -> Path:
        """Hashes of the keys that the collector accepts from gateways."""
        return self.root / "keys.json"

    @property
    def client_keys(self) -> Path:
        """Hashes of the keys that the gateway accepts from its clients, which may not write training data."""
        return self.root / "client_keys.json"

    def raw_file(self, day: date, writer: str | None = None, part: int = 0) -> Path:
        """Return the raw file of a day and writer; `part` counts the new files begun that day after failed writes."""
        pieces = [f"training_data_{day:%Y%m%d}", writer, str(part) if part else None, "jsonl"]
        return self.raw / ".".join(piece for piece in pieces if piece)

    def rejected_file(self, day: date, writer: str | None = None, part: int = 0) -> Path:
        """Return the file of data points rejected on a day, by writer; `part` counts as in `raw_file`."""
        pieces = [f"rejected_{day:%Y%m%d}", writer, str(part) if part else None, "jsonl"]
        return self.rejected / ".".join(piece for piece in pieces if piece)

    def raw_files(self, day: date) -> list[Path]:
        """Return all raw files of a day, of every writer, compressed or not, sorted by name."""
        return [path for found, path in _entries(self.raw, RAW_NAME) if found == day]

    def raw_days(self) -> list[date]:
        """Return the days that have a raw file, sorted."""
        return sorted({day for day, _ in _entries(self.raw, RAW_NAME)})

    def raw_files_by_day(self) -> dict[date, list[Path]]:
        """Return all raw files by day, days and files sorted; lists the folder once, however many days there are."""
        found: dict[date, list[Path]] = {}
        for day, path in sorted(_entries(self.raw, RAW_NAME)):
            found.setdefault(day, []).append(path)
        return found

    def passed_over(self) -> list[str]:
        """Return the names in the folder of raw files that are not those of raw files, sorted: nothing reads them.

        Hidden names are left out, as locks and half-written files have them.
        """
        read = {path.name for _, path in _entries(self.raw, RAW_NAME)}
        there = sorted(path.name for path in self.raw.iterdir()) if self.raw.is_dir() else []
        return [name for name in there if name not in read and not name.startswith(".")]

    def rejected_files_by_day(self) -> list[tuple[date, Path]]:
        """Return all files of rejected data points, each with its day, sorted by name."""
        return _entries(self.rejected, _REJECTED_NAME)

    def table(self, name: str, day: date) -> Path:
        """Return the Parquet file of a table and day."""
        return self.tables / name / f"{day.isoformat()}.parquet"

    def table_days(self, name: str) -> list[date]:
        """Return the days for which a table has a file, sorted."""
        return sorted(day for day, _ in _entries(self.tables / name, _TABLE_NAME))

    def dataset(self, version: str) -> Path:
        """Return the folder of a dataset version."""
        return self.datasets / version

    def router(self, version: str) -> Path:
        """Return the folder of a router version."""
        return self.routers / version


def _entries(folder: Path, pattern: re.Pattern[str]) -> list[tuple[date, Path]]:
    """Return what in a folder has a name of this pattern, each with the day in its name, sorted by name.

    Names whose digits are not a day are ignored; a missing folder counts as empty. Not done with glob, which takes a
    folder that may not be read for an empty one.
    """
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if matched := pattern.fullmatch(path.name):
            with suppress(ValueError):
                found.append((date.fromisoformat(matched["day"]), path))
    return found
