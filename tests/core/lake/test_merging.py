"""Repeats in a dataset: the same point counts once, and repeats of a question are merged into one example.

Merging covers their scores, costs and probabilities of being asked.
"""

from datetime import timedelta

import polars as pl
import pytest

from flywheel_core.lake.dataset import build_dataset
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import read_table
from tests.core.lake.lakes import (
    CONFIG,
    DAY,
    build_day,
    examples_of,
    point,
    response,
    with_dataset,
    write_raw,
)

NEXT = DAY + timedelta(days=1)


def test_the_same_point_on_two_days_counts_once(layout: Layout) -> None:
    again = point("twice", {"big": 0.9, "coder": 0.25}, question="once?")
    write_raw(layout, [again], DAY)
    write_raw(layout, [again, point("new", {"big": 0.9, "coder": 0.5}, question="new?")], NEXT)
    build_day(layout, DAY)
    build_day(layout, NEXT)
    built = build_dataset(layout, NEXT, CONFIG)
    rows = {row["id"]: row for row in examples_of(layout, built.version)}
    assert {name: (row["day"], row["weight"]) for name, row in rows.items()} == {
        "twice": (DAY, 1),
        "new": (NEXT, 1),
    }
    assert (built.manifest["counts"]["points"], built.manifest["counts"]["duplicates"]) == (3, 1)


@pytest.mark.parametrize("name", ["early", "late"])
def test_the_first_of_repeats_is_that_of_the_earliest_day(layout: Layout, name: str) -> None:
    """Whether the later line repeats the point (`early`) or the question alone, and wherever in its file it stands."""
    scores = {"big": 0.75, "coder": 0.5}
    write_raw(layout, [point("a", scores), point("b", scores), point("early", scores, question="same")])
    write_raw(layout, [point(name, scores, question="same"), point("new", scores)], NEXT)
    for day in (DAY, NEXT):
        build_day(layout, day)
    rows = examples_of(layout, build_dataset(layout, NEXT, CONFIG).version)
    assert [(row["id"], row["day"], row["weight"]) for row in rows] == [
        ("a", DAY, 1),
        ("b", DAY, 1),
        ("early", DAY, 1 if name == "early" else 2),
        ("new", NEXT, 1),
    ]


def test_a_question_asked_many_times_weighs_at_most_ten(layout: Layout) -> None:
    """Without this cap, one client could outweigh all others in training by repeating a question.

    The cap on groups does not prevent that, because it counts questions.
    """
    lines = [point(f"r{number}", {"big": 0.9, "coder": 0.25}, question="again?") for number in range(25)]
    lines += [point(f"o{number}", {"big": 0.9, "coder": 0.25}, question="often?") for number in range(10)]
    write_raw(layout, [*lines, point("once", {"big": 0.9, "coder": 0.25}, question="once?")])
    build_day(layout, DAY)
    built = build_dataset(layout, DAY, CONFIG)
    rows = {row["text"]: row for row in examples_of(layout, built.version)}
    assert {text: row["weight"] for text, row in rows.items()} == {"again?": 10, "often?": 10, "once?": 1}
    assert len(rows["again?"]["data_point_ids"]) == 25
    assert built.manifest["counts"]["weight_capped"] == 1
    assert built.manifest["counts"]["repeats"] == 24 + 9
    free = build_dataset(layout, DAY, with_dataset(max_weight=100))
    assert free.version != built.version
    assert {row["weight"] for row in examples_of(layout, free.version)} == {25, 10, 1}
    assert free.manifest["counts"]["weight_capped"] == 0


def test_a_mean_of_exactly_the_minimum_score_gives_its_label(layout: Layout) -> None:
    """In floating point, 2.4 / 3 is a little less than 0.8."""
    scores = (0.7, 0.8, 0.9)
    write_raw(
        layout, [point(f"p{score}", {"big": score, "coder": 0.1}, question="What?") for score in scores]
    )
    build_day(layout, DAY)
    labelling = CONFIG.labelling.model_copy(update={"min_score": 0.8})
    built = build_dataset(layout, DAY, CONFIG.model_copy(update={"labelling": labelling}))
    (row,) = examples_of(layout, built.version)
    assert (row["rule"], row["label"], row["score"]) == ("single_best", "general", 0.8)


def test_equal_mean_costs_are_a_tie_that_the_declared_order_decides(layout: Layout) -> None:
    """In floating point, 0.3 / 3 is a little less than 0.1."""
    points = [point(f"p{cost}", {"big": 0.9, "coder": 0.9}, question="What?") for cost in (0.0, 0.1, 0.2)]
    for made, cost in zip(points, (0.0, 0.1, 0.2), strict=True):
        made["responses"] = {"big": response("big", cost=0.1), "coder": response("coder", cost=cost)}
    write_raw(layout, points)
    build_day(layout, DAY)
    (row,) = examples_of(layout, build_dataset(layout, DAY, CONFIG).version)
    assert (row["rule"], row["best_model"]) == ("tie_declared", "big")


def test_repeats_of_a_question_are_merged_and_labelled_by_their_mean_scores(layout: Layout) -> None:
    failing = point("c", {"big": None, "coder": 0.5}, question="what IS it ?")
    failing["responses"]["big"] |= {"answer": None, "error": "timeout", "latency_ms": None, "cost": None}
    write_raw(
        layout,
        [
            point("a", {"big": 0.75, "coder": 0.5}, question="What is it?", received_at=10.0),
            point(
                "b", {"big": 0.25, "coder": 1.0, "algebra": 0.5}, question="what is\tit?", received_at=20.0
            ),
        ],
    )
    write_raw(layout, [failing], NEXT)
    build_day(layout, DAY)
    build_day(layout, NEXT)
    built = build_dataset(layout, NEXT, CONFIG)
    (row,) = examples_of(layout, built.version)
    assert (row["id"], row["text"], row["day"], row["received_at"]) == ("a", "What is it?", DAY, 10.0)
    assert (row["weight"], row["data_point_ids"], row["last_received_at"]) == (
        3,
        ["a", "b", "c"],
        1_767_571_260.5,
    )
    assert (row["label"], row["best_model"], row["rule"]) == ("code", "coder", "single_best")
    assert row["score"] == pytest.approx(2 / 3)
    outcomes = {outcome.pop("model"): outcome for outcome in row["outcomes"]}
    assert outcomes["big"] == {
        "score": 0.5,
        "failed": False,
        "cost": 0.25,
        "latency_ms": 100.0,
        "asked": 1.0,
        "times": 3,
        "failures": 1,
        "scored": 2,
    }
    assert (outcomes["algebra"]["times"], outcomes["coder"]["scored"]) == (1, 3)
    assert built.manifest["counts"]["repeats"] == 2


@pytest.mark.parametrize(
    ("chances", "merged"), [((0.25, 0.5), 0.333333333333), ((0.3, 0.5), 0.375), ((0.001, 0.005), 0.01)]
)
def test_merging_keeps_the_probability_that_a_model_is_asked(
    layout: Layout, chances: tuple[float, float], merged: float
) -> None:
    """Of 0.25 and 0.5, one answer stands for four questions and one for two: two answers for six are 1/3."""
    for name, chance in zip("ab", chances, strict=True):
        asked = {"big": 1.0, "coder": chance}
        made = point(name, {"big": 0.75, "coder": 0.5}, question="same?", asked=asked)
        write_raw(layout, [made], DAY, writer=name)
    build_day(layout)
    (row,) = examples_of(layout, build_dataset(layout, DAY, CONFIG).version)
    assert {one["model"]: one["asked"] for one in row["outcomes"]} == {"big": 1.0, "coder": merged}


def test_equal_scores_stay_what_they_are_when_merged(layout: Layout) -> None:
    third = 1 / 3
    write_raw(layout, [point(name, {"big": third, "coder": 0.9}, question="same") for name in "abc"])
    build_day(layout)
    (row,) = examples_of(layout, build_dataset(layout, DAY, CONFIG).version)
    assert [outcome["score"] for outcome in row["outcomes"]] == [third, 0.9]


def test_a_cost_or_latency_beyond_all_reason_counts_as_a_trillion(layout: Layout) -> None:
    points = [point(name, {"big": 0.5, "coder": 0.5}, question="same") for name in "ab"]
    points[0]["responses"]["big"] = response("big", cost=1e300, latency_ms=10**25)
    points[1]["responses"]["big"] = response("big", cost=0.0, latency_ms=0)
    write_raw(layout, points)
    build_day(layout)
    (row,) = examples_of(layout, build_dataset(layout, DAY, CONFIG).version)
    big = row["outcomes"][0]
    assert (big["model"], big["cost"], big["latency_ms"]) == ("big", 5e11, 5e11)
    leaders = {one["model"]: one["cost"] for one in read_table(layout, "model_leaderboard").to_dicts()}
    assert leaders == {"big": 1e12, "coder": 0.5}


def test_scores_of_many_digits_and_tiny_costs_are_not_rounded_away(layout: Layout) -> None:
    points = [
        point("a", {"big": 0.1234567, "coder": 0.7000001}, question="same"),
        point("b", {"big": 0.2, "coder": 0.7}, question="same"),
    ]
    for made, cost in zip(points, (1e-7, 3e-7), strict=True):
        made["responses"]["big"] = response("big", cost=cost)
    write_raw(layout, points)
    build_day(layout)
    (row,) = examples_of(layout, build_dataset(layout, DAY, CONFIG).version)
    assert (row["outcomes"][0]["score"], row["outcomes"][0]["cost"]) == (0.16172835, 2e-7)
    tables = {
        name: read_table(layout, name)
        for name in ("model_leaderboard", "label_distribution", "quality_report")
    }
    big = tables["model_leaderboard"].row(by_predicate=pl.col("model") == "big", named=True)
    code = tables["label_distribution"].row(by_predicate=pl.col("label") == "code", named=True)
    report = {one["metric"]: one["value"] for one in tables["quality_report"].to_dicts()}
    found = [big["mean_score"], big["cost"], code["mean_score"], code["mean_margin"]]
    found += [report["score_mean"], report["margin_mean"], report["model_cost"]]
    expected = [0.16172835, 4e-7, 0.70000005, 0.5382717, 0.70000005, 0.5382717, 0.5000004]
    assert found == pytest.approx(expected, rel=0, abs=1e-12)


def test_the_ids_of_repeats_are_sorted_whatever_their_order_of_arrival(layout: Layout) -> None:
    names = ["d", "b", "e", "a", "c"]
    write_raw(layout, [point(name, {"big": 0.75, "coder": 0.5}, question="same") for name in names])
    build_day(layout)
    (row,) = examples_of(layout, build_dataset(layout, DAY, CONFIG).version)
    assert (row["id"], row["data_point_ids"]) == ("d", sorted(names))
