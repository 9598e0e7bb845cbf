"""What the checks of a day say of given figures, without a run."""

import dagster as dg
import pytest

from flywheel_dagster.checks import (
    enough_examples,
    groups_within_share,
    label_drift,
    points_reconciled,
    rejected_share,
    split_disjoint,
    total_variation,
)


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ({"math": 5, "code": 5}, {"math": 1, "code": 1}, 0.0),
        ({"math": 3, "code": 1}, {"math": 1, "writing": 1}, 0.5),
        ({"math": 7}, {"code": 2}, 1.0),
    ],
)
def test_the_distance_of_two_weeks_is_that_of_their_shares(
    one: dict[str, int], other: dict[str, int], distance: float
) -> None:
    assert total_variation(one, other) == total_variation(other, one) == pytest.approx(distance)


@pytest.mark.parametrize(
    ("today", "week"), [({}, {"math": 3}), ({"math": 3}, {}), ({"math": 0}, {"math": 3})]
)
def test_without_labels_on_one_side_there_is_no_drift(today: dict[str, int], week: dict[str, int]) -> None:
    verdict = label_drift(today=today, week=week, limit=0.25)
    assert (verdict.passed, verdict.says) == (True, "nothing to compare with yet")
    unread = label_drift(today=today, week=week, limit=0.25, unread="2026-01-05")
    assert not unread.passed and "2026-01-05" in unread.says and not unread.stops


def test_a_drift_of_exactly_the_limit_passes_and_more_warns() -> None:
    at = label_drift(today={"math": 3, "code": 1}, week={"math": 1, "code": 1}, limit=0.25)
    beyond = label_drift(today={"math": 4, "code": 1}, week={"math": 1, "code": 1}, limit=0.25)
    assert (at.passed, beyond.passed, beyond.stops) == (True, False, False)
    assert at.figures == {"distance": 0.25, "limit": 0.25}
    unread = label_drift(today={"math": 1}, week={"math": 1}, limit=0.25, unread="2026-01-05")
    assert (unread.passed, "2026-01-05" in unread.says) == (False, True)


def test_a_drift_names_the_share_that_moved_most() -> None:
    """It has the name of the figure that is plotted over the days."""
    week = {"math": 2, "code": 4, "writing": 4}
    says = label_drift(today={"math": 7, "code": 3}, week=week, limit=0.25).says
    assert says.endswith("; share_math moved most, from 0.200 to 0.700")
    gone = label_drift(today={"code": 5, "math": 4, "medicine": 1}, week=week, limit=0.25).says
    assert gone.endswith("; share_writing moved most, from 0.400 to 0.000")
    assert "moved" not in label_drift(today={"math": 1}, week={"math": 9}, limit=0.25).says


def test_a_share_of_rejects_of_exactly_the_limit_passes_and_more_stops_the_day() -> None:
    at = rejected_share(lines=100, rejected=5, limit=0.05)
    assert at.passed and "see the day's rejects" not in at.says
    assert rejected_share(lines=0, rejected=0, limit=0.0).passed
    assert rejected_share(lines=100, rejected=6, limit=0.05).stops
    few = rejected_share(lines=99, rejected=6, limit=0.05)
    assert (few.passed, few.stops, few.severity) == (False, False, dg.AssetCheckSeverity.WARN)


@pytest.mark.parametrize("wrong", ["lines", "stored_points", "stored_rejects"])
def test_one_line_point_or_reject_that_is_not_accounted_for_stops_the_day(wrong: str) -> None:
    right = {
        "lines": 10,
        "accepted": 7,
        "duplicates": 2,
        "rejected": 1,
        "stored_points": 7,
        "stored_rejects": 1,
    }
    assert points_reconciled(**right).passed
    found = points_reconciled(**{**right, wrong: right[wrong] + 1})
    assert found.stops
    assert found.figures == {"lines": 10 + (wrong == "lines"), "unaccounted": int(wrong == "lines")}


def test_the_least_number_of_examples_and_labels_is_enough() -> None:
    counts = {"math": 30, "code": 20, "writing": 0}
    verdict = enough_examples(labels=counts, min_examples=50, min_labels=2)
    assert (verdict.passed, verdict.figures) == (True, {"examples": 50, "labels": 2})
    assert not enough_examples(labels=counts, min_examples=51, min_labels=2).passed
    assert not enough_examples(labels=counts, min_examples=50, min_labels=3).passed


def test_a_capped_source_is_named_with_what_it_gave_of_a_label_or_in_all() -> None:
    cap = {"group": "source", "name": "edge", "examples": 90, "kept": 60}
    verdict = groups_within_share(caps=[{**cap, "label": "math"}, {**cap, "label": None}], limit=0.8)
    assert "gave 90 examples of math, 60 were kept" in verdict.says
    assert "gave 90 examples in all, 60 were kept" in verdict.says
    assert verdict.figures == {"capped": 2, "left_out": 30, "limit": 0.8}
    assert (verdict.passed, verdict.stops) == (False, False)
    none = groups_within_share(caps=[], limit=0.8)
    assert none.passed and "more than 80% of a label" in none.says


def test_a_question_on_two_sides_of_the_split_stops_training() -> None:
    assert split_disjoint(questions=9, shared=0).passed
    found = split_disjoint(questions=9, shared=1)
    assert found.stops
    assert found.figures == {"questions": 9, "shared": 1}


def test_a_scorer_that_says_the_same_to_everything_is_noticed_whatever_the_labels() -> None:
    """Ties go to cheap and fast models, whose shares may be near those of the week before."""
    shares = {"math": 10, "code": 10}
    found = label_drift(today=shares, week=shares, limit=0.25, untold=20)
    assert not found.passed and not found.stops
    assert "the scorer does not tell answers apart" in found.says
    assert label_drift(today=shares, week=shares, limit=0.25, untold=19).passed
