"""Finds days whose raw files changed after the day was over. What is done about them is in `sensors.py`."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from flywheel_core.errors import UsageError
from flywheel_core.lake.layout import Layout

NIGHTLY_GRACE = timedelta(hours=3)
"""A day is looked at from 03:00 UTC of the next day on: the nightly run at 01:30 comes first."""
QUIET = timedelta(minutes=5)
"""A file must have been left alone for so long: an import or a copy under way is not a finished day."""


@dataclass(frozen=True)
class RawDay:
    """A day's raw files as they lie there.

    size: bytes of all; newest: latest change; mark: changes when any file does; at_rest: left alone for `QUIET`.
    """

    day: date
    files: tuple[str, ...]
    size: int
    newest: datetime
    mark: str
    at_rest: bool


def look(layout: Layout, now: datetime, first_day: date) -> list[RawDay]:
    """The closed days from `first_day` on whose raw files are there, in order."""
    last = (now - NIGHTLY_GRACE).date() - timedelta(days=1)
    found = []
    for day, paths in layout.raw_files_by_day().items():
        if first_day <= day <= last:
            raw = _raw_day(day, paths, now)
            if raw is not None:
                found.append(raw)
    return found


def _raw_day(day: date, paths: Sequence[Path], now: datetime) -> RawDay | None:
    digest, size, newest = hashlib.sha256(), 0, 0
    for path in paths:
        try:
            seen = path.stat()
        except FileNotFoundError:
            return None  # it is being replaced; the next look sees the new one
        digest.update(f"{path.name}\n{seen.st_size}\n{seen.st_mtime_ns}\n".encode())
        size += seen.st_size
        newest = max(newest, seen.st_mtime_ns)
    moment = datetime.fromtimestamp(newest / 1e9, UTC)
    at_rest = not now - QUIET < moment <= now
    return RawDay(day, tuple(path.name for path in paths), size, moment, digest.hexdigest()[:16], at_rest)


def joined_mark(raws: Sequence[RawDay]) -> str:
    """One mark for several days: changes when any of them does."""
    return hashlib.sha256("\n".join(raw.mark for raw in raws).encode()).hexdigest()[:16]


def is_ingested(layout: Layout, raw: RawDay) -> bool:
    """Whether the day's table `responses` is there and younger than every raw file of the day."""
    table = layout.table("responses", raw.day)
    return table.is_file() and datetime.fromtimestamp(table.stat().st_mtime, UTC) >= raw.newest


def read_cursor(text: str | None) -> dict[date, str]:
    """Day -> mark as of the last look. Raises UsageError when the text is not a cursor of ours."""
    if not text:
        return {}
    try:
        return {date.fromisoformat(day): str(mark) for day, mark in json.loads(text).items()}
    except (ValueError, AttributeError):
        raise UsageError(
            "the cursor of the sensor late_days is not what it wrote",
            hint="reset the cursor in the Dagster UI",
        ) from None


def write_cursor(marks: dict[date, str]) -> str:
    """The text that `read_cursor` takes."""
    return json.dumps({day.isoformat(): marks[day] for day in sorted(marks)}, separators=(",", ":"))
