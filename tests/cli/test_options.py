"""Days given as arguments on the command line."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from flywheel_cli.options import expand_days
from flywheel_core.errors import NoDataError, UsageError

KNOWN = [date(2026, 1, 5), date(2026, 1, 3)]


def test_days_ranges_and_all_come_once_and_in_order() -> None:
    days = expand_days(
        ["2026-01-04..2026-01-06", "20260105", "all"], KNOWN, where=Path("raw"), before="import"
    )
    assert days == [date(2026, 1, 3), date(2026, 1, 4), date(2026, 1, 5), date(2026, 1, 6)]


def test_a_range_may_end_today() -> None:
    today = datetime.now(UTC).date()
    assert expand_days(["yesterday..today"], [], where=Path("raw"), before="import") == [
        today - timedelta(days=1),
        today,
    ]


@pytest.mark.parametrize(("word", "count"), [("2026-01-05..2026-01-05", 1), ("2016-01-01..2026-01-07", 3660)])
def test_the_shortest_and_the_longest_range(word: str, count: int) -> None:
    assert len(expand_days([word], [], where=Path("raw"), before="import")) == count


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("2026-01-06..2026-01-05", "ends before it begins"),
        ("2016-01-01..2026-01-08", "has 3661 days; at most 3660"),
        ("2026-02-30", "is not a day"),
        ("..2026-01-01", "'' is not a day"),
    ],
)
def test_what_names_no_days_is_refused(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        expand_days([word], KNOWN, where=Path("raw"), before="import")


def test_all_of_nothing_is_no_data() -> None:
    with pytest.raises(NoDataError):
        expand_days(["all"], [], where=Path("raw"), before="import")
