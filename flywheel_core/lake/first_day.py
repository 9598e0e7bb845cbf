"""Finds raw days that Dagster has no partition for and so never builds on its own.

These are the days before `storage.first_day`, and those after today until they arrive.
"""

from collections.abc import Iterable
from datetime import date

from flywheel_core.config import Config


def days_before_first(days: Iterable[date], config: Config) -> str | None:
    """Say how many of `days` are before `storage.first_day` and what to set it to; return None when none are."""
    first = date.fromisoformat(config.storage.first_day)
    early = sorted(day for day in days if day < first)
    if not early:
        return None
    return f"{_count(early)} before storage.first_day ({first}), which Dagster never makes: set storage.first_day to {early[0]}"


def days_to_come(days: Iterable[date], today: date) -> str | None:
    """Say how many of `days` are after `today` and which is the first; return None when none are."""
    ahead = sorted(day for day in days if day > today)
    if not ahead:
        return None
    return f"{_count(ahead)} after today ({today}), which Dagster does not make yet: from {ahead[0]} on"


def _count(days: list[date]) -> str:
    return "1 day" if len(days) == 1 else f"{len(days)} days"
