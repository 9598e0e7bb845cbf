"""Raw days before `storage.first_day`: Dagster has no partition for them, so nothing makes them by itself."""

from collections.abc import Iterable
from datetime import date

from flywheel_core.config import Config


def days_before_first(days: Iterable[date], config: Config) -> str | None:
    """How many of `days` lie before the first one, and what to set, in one sentence; None when there are none."""
    first = date.fromisoformat(config.storage.first_day)
    early = sorted(day for day in days if day < first)
    if not early:
        return None
    count = "1 day" if len(early) == 1 else f"{len(early)} days"
    return f"{count} before storage.first_day ({first}), which Dagster never makes: set storage.first_day to {early[0]}"
