"""Days as Dagster's partitions. `flywheel_core/lake/layout.py` defines what a day is: UTC, by receipt."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

PARTITION_TAG = "dagster/partition"
"""The tag of a run that works on one partition."""
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
"""The two tags that make one run work on a range of partitions."""


def daily_partitions(first_day: str) -> dg.DailyPartitionsDefinition:
    """Return the UTC days from `first_day` (YYYY-MM-DD) to today, including the open day for inspection."""
    return dg.DailyPartitionsDefinition(start_date=first_day, timezone="UTC", end_offset=1)


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def is_open(day: date) -> bool:
    """Whether data points may still arrive for `day`."""
    return day >= utc_now().date()


def ranges(days: Iterable[date]) -> list[tuple[date, date]]:
    """Return the days as ranges (first, last) of consecutive days, in order; repeats count once."""
    found: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if found and found[-1][1] + timedelta(days=1) == day:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found


def range_tags(first: date, last: date) -> dict[str, str]:
    """Return run tags that make one run work on every day from `first` to `last`."""
    return {RANGE_START_TAG: first.isoformat(), RANGE_END_TAG: last.isoformat()}


def days_of(partition_keys: Sequence[str]) -> list[date]:
    """Return the days that partition keys name, in order."""
    return sorted(date.fromisoformat(key) for key in partition_keys)
