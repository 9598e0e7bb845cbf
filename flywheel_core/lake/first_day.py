"""Raw days that Dagster has no partition for, so that nothing makes them by itself: before `storage.first_day`, and after today."""

from collections.abc import Iterable
from datetime import date

from flywheel_core.config import Config


def days_before_first(days: Iterable[date], config: Config) -> str | None:
    """How many of `days` lie before the first one, and what to set, in one sentence; None when there are none."""
    first = date.fromisoformat(config.storage.first_day)
    early = sorted(day for day in days if day < first)
    if not early:
        return None
    return f"{_count(early)} before storage.first_day ({first}), which Dagster never makes: set storage.first_day to {early[0]}"


def days_to_come(days: Iterable[date], today: date) -> str | None:
    """How many of `days` come after `today`, and from when on, in one sentence; None when there are none."""
    ahead = sorted(day for day in days if day > today)
    if not ahead:
        return None
    return f"{_count(ahead)} after today ({today}), which Dagster does not make yet: from {ahead[0]} on"


def _count(days: list[date]) -> str:
    return "1 day" if len(days) == 1 else f"{len(days)} days"
