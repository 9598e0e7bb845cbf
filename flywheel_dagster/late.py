"""Finds days whose raw files changed after the day was over. `sensors.py` decides what to do about them."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from flywheel_core.errors import StorageError, UsageError
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.parquet import read_note
from flywheel_core.lake.tables import DAILY_TABLES

NIGHTLY_GRACE = timedelta(hours=3)
"""A day is looked at from 03:00 UTC of the next day on, so that the nightly run at 01:30 comes first."""
QUIET = timedelta(minutes=5)
"""How long a file must have been left alone: an import or a copy in progress is not a finished day."""
MOST_TRIES = 3
"""How often a day is requested while its files stay the same; what fails that often needs a person."""
TRY_AGAIN_AFTER = timedelta(hours=1)
"""How long after a request a day that is still not made is requested again."""


@dataclass(frozen=True)
class RawDay:
    """A day's raw files as they lie on disk.

    size: bytes of all files; newest: time of the latest change; mark: changes when any file does; at_rest:
    whether all have been left alone for `QUIET`. A file dated in the future counts as left alone.
    """

    day: date
    files: tuple[str, ...]
    size: int
    newest: datetime
    mark: str
    at_rest: bool


class Asked(NamedTuple):
    """What the sensor remembers of a day.

    mark: that of its files; tries: how often it was requested with these files, 0 once it is made; at: when
    it was last requested, unix seconds.
    """

    mark: str
    tries: int = 0
    at: int = 0

    def is_overdue(self, now: datetime) -> bool:
        """Whether the day was requested so long ago that it should have been made by now."""
        return self.tries > 0 and now.timestamp() >= self.at + TRY_AGAIN_AFTER.total_seconds()


class Seen(NamedTuple):
    """The closed days that have raw files, in order, and a message for each day with one that cannot be read."""

    days: list[RawDay]
    unreadable: list[str]


def look(layout: Layout, now: datetime, first_day: date) -> Seen:
    """Return the closed days from `first_day` on."""
    last = (now - NIGHTLY_GRACE).date() - timedelta(days=1)
    seen = Seen([], [])
    for day, paths in layout.raw_files_by_day().items():
        if first_day <= day <= last:
            try:
                raw = _raw_day(day, paths, now)
            except StorageError as error:
                seen.unreadable.append(error.message)
                continue
            if raw is not None:
                seen.days.append(raw)
    return seen


def _raw_day(day: date, paths: Sequence[Path], now: datetime) -> RawDay | None:
    digest, size, newest = hashlib.sha256(), 0, 0
    for path in paths:
        try:
            seen = path.stat()
        except OSError as error:
            if not os.path.lexists(path):
                return None  # it is being replaced; the next look sees the new one
            raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
        digest.update(f"{path.name}\n{seen.st_size}\n{seen.st_mtime_ns}\n".encode())
        size += seen.st_size
        newest = max(newest, seen.st_mtime_ns)
    moment = datetime.fromtimestamp(newest / 1e9, UTC)
    at_rest = not now - QUIET < moment <= now
    return RawDay(day, tuple(path.name for path in paths), size, moment, digest.hexdigest()[:16], at_rest)


def next_asked(
    layout: Layout, raw: RawDay, before: Asked | None, now: datetime, under_way: Callable[[], bool]
) -> Asked | None:
    """Return what to remember of a day, and with it whether to request the day now.

    It is to be requested if the result has tries and differs from `before`. Returns None for a new day whose
    files are still changing. under_way: tells whether days that were requested may still be waiting for their
    run.
    """
    if before is None or before.mark != raw.mark:
        if not raw.at_rest:
            return before
        if is_made(layout, raw, now) and (before is None or _has_lost_files(layout, raw)):
            return Asked(raw.mark)
        return Asked(raw.mark, 1, int(now.timestamp()))
    if before.tries and is_made(layout, raw, now):
        return Asked(raw.mark)
    if before.tries < MOST_TRIES and before.is_overdue(now) and not under_way():
        return Asked(raw.mark, before.tries + 1, int(now.timestamp()))
    return before


def joined_mark(asked: Sequence[Asked]) -> str:
    """Return one mark for several days; it changes when a file of any of them does, and each time that they are requested.

    Dagster never starts a second run for a mark: without the time, after a reset of the cursor it would pass over the
    requests of the days that have failed.
    """
    text = "\n".join(f"{one.mark} {one.tries} {one.at}" for one in asked)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_made(layout: Layout, raw: RawDay, now: datetime) -> bool:
    """Whether the last of the day's tables is there and at least as new as the first and as every raw file of the day.

    A check that stopped the day leaves a first table that is newer than the last. A file dated in the future is newer than
    any table, so its time says nothing. A file may be older than the tables and not be in them: one that was copied with its
    time, or written while the day was being made.
    """
    first, last = (_changed(layout.table(name, raw.day)) for name in (DAILY_TABLES[0], DAILY_TABLES[-1]))
    is_newer = (
        last is not None and (first is None or last >= first) and (last >= raw.newest or raw.newest > now)
    )
    return is_newer and _is_all_in(raw, _note(layout, raw))


def _is_all_in(raw: RawDay, note: Mapping[str, Any]) -> bool:
    """Whether the tables with this note were made of all the day's raw files, at their size; True if it does not say."""
    files, made_of = set(raw.files), set(note.get("files", raw.files))
    if files != made_of:
        return files < made_of
    is_packed = any(name.endswith(".gz") for name in files)  # the note counts unpacked bytes
    return is_packed or note.get("bytes_read", raw.size) == raw.size


def _changed(path: Path) -> datetime | None:
    """Return when a file was last written, None without such a file."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.is_file() else None


def _has_lost_files(layout: Layout, raw: RawDay) -> bool:
    """Whether the day's tables were made of all its raw files, and of others that have disappeared.

    Moving raw files to an archive must not take their rows out of the tables.
    """
    return set(raw.files) < set(_note(layout, raw).get("files", ()))


def _note(layout: Layout, raw: RawDay) -> dict[str, Any]:
    """Return what `ingest_day` noted in the day's table; empty when the table is missing or damaged."""
    try:
        return read_note(layout.table("responses", raw.day))
    except StorageError:
        return {}


def read_cursor(text: str | None) -> dict[date, Asked]:
    """Return day -> what was remembered of it.

    Raises UsageError when `text` is not a cursor of this sensor.
    """
    if not text:
        return {}
    try:
        found = {date.fromisoformat(day): value for day, value in json.loads(text).items()}
        return {
            day: Asked(value)
            if isinstance(value, str)
            else Asked(str(value[0]), int(value[1]), int(value[2]))
            for day, value in found.items()
        }
    except (ValueError, AttributeError, TypeError, LookupError):
        raise UsageError(
            "the cursor of the sensor late_days is not one that the sensor wrote",
            hint="reset the cursor in the Dagster UI",
        ) from None


def write_cursor(days: Mapping[date, Asked]) -> str:
    """Return the text that `read_cursor` reads.

    A day that is made keeps only its mark: there are many such days.
    """
    values = {day.isoformat(): days[day] if days[day].tries else days[day].mark for day in sorted(days)}
    return json.dumps(values, separators=(",", ":"))
