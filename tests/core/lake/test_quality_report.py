"""The daily quality report: every figure, on a mixed day, an empty one and one without labels."""

from itertools import groupby

import pytest

from flywheel_core.lake.layout import Layout
from flywheel_core.lake.schemas import TABLES
from flywheel_core.lake.tables import DAILY_TABLES, read_table
from tests.core.lake.lakes import DAY, build_day, point, response, write_mixed_day, write_raw


def figures(layout: Layout) -> dict[tuple[str, str], float | None]:
    """Return the quality report as (metric, key) -> value."""
    rows = read_table(layout, "quality_report", [DAY]).to_dicts()
    return {(row["metric"], row["key"]): row["value"] for row in rows}


def test_the_quality_report_has_all_figures_and_they_add_up(layout: Layout) -> None:
    write_mixed_day(layout)
    build_day(layout)
    sections = read_table(layout, "quality_report")["section"].to_list()
    assert list(dict.fromkeys(sections)) == [
        "lines",
        "rejects",
        "coverage",
        "rules",
        "labels",
        "scores",
        "score_histogram",
        "ties",
        "unknown_models",
        "spend",
    ]
    assert len(list(groupby(sections))) == len(set(sections)), "each section stands together"
    found = figures(layout)
    expected: dict[tuple[str, str], float] = {
        ("lines", ""): 8,
        ("accepted", ""): 6,
        ("duplicates", ""): 1,
        ("rejected", ""): 1,
        ("blank", ""): 0,
        ("rejected_by_code", "point_not_object"): 1,
        ("points", ""): 6,
        ("points_without_response", ""): 1,
        ("labelled", ""): 3,
        ("unlabelled", ""): 3,
        ("labelled_share", ""): 0.5,
        ("responses", ""): 11,
        ("failed_responses", ""): 1,
        ("missing_scores", ""): 0,
        ("rule", "single_best"): 2,
        ("rule", "tie_declared"): 1,
        ("rule", "below_min_score"): 1,
        ("rule", "unknown_model"): 1,
        ("rule", "too_few_scores"): 1,
        ("label_count", "general"): 2,
        ("label_mean_score", "general"): 0.6875,
        ("score_mean", ""): (1.0 + 0.75 + 0.625) / 3,
        ("score_min", ""): 0.625,
        ("score_max", ""): 1.0,
        ("ties", ""): 1,
        ("tie_share", ""): 1 / 3,
        ("margin_mean", ""): (0.75 + 0.0 + 0.125) / 3,
        ("margin_p50", ""): 0.125,
        ("unknown_model_responses", "stranger"): 1,
        ("model_cost", ""): 2.5,
        ("scorer_cost", ""): 5.0,
        ("model_cost_by_model", "coder"): 0.5,
    }
    for figure, value in expected.items():
        assert found[figure] == pytest.approx(value), figure
    assert (
        sum(value or 0 for (metric, _), value in found.items() if metric == "rule") == found[("points", "")]
    )
    histogram = [value for (metric, _), value in found.items() if metric == "score_histogram"]
    assert histogram == [1, 1, 1, 0, 0, 2, 1, 2, 0, 2]


def test_each_answer_that_the_scorer_was_asked_about_is_paid_for_and_an_unknown_cost_is_counted(
    layout: Layout,
) -> None:
    """What the scorer calls invalid costs as much as a score. Points that came without scores were not scored here."""
    invalid = point("invalid", {"big": 1.0, "coder": None}, score_reasons={"coder": "invalid"})
    unscored = point("unscored", {"big": None})
    del unscored["scores"]["big"]
    failed = {"coder": "no_answer", "algebra": "no_answer"}
    streamed = point("streamed", {"big": 1.0, **dict.fromkeys(failed)}, score_reasons=failed)
    streamed["responses"]["big"] = response("big", cost=None)
    for model in failed:
        streamed["responses"][model] = response(model, answer=None, error="timeout", cost=None)
    write_raw(layout, [invalid, unscored, streamed])
    build_day(layout)
    found = figures(layout)
    assert found["scorer_cost", ""] == 3 * 0.5
    assert found["unpriced_answers", ""] == 1
    assert found["model_cost", ""] == 3 * 0.25


def test_the_cost_of_a_model_without_a_known_one_is_null_as_in_the_leaderboard(layout: Layout) -> None:
    """0 would say that it is free."""
    streamed = point("streamed", {"big": 1.0, "coder": 0.5})
    streamed["responses"]["coder"] = response("coder", cost=None)
    write_raw(layout, [streamed])
    build_day(layout)
    board = read_table(layout, "model_leaderboard").select("model", "cost").rows()
    found = figures(layout)
    assert dict(board) == {"big": 0.25, "coder": None}
    assert {model: found["model_cost_by_model", model] for model, _ in board} == dict(board)


def test_an_empty_day_gives_empty_tables_and_a_report_of_zeros(layout: Layout) -> None:
    build_day(layout)
    for name in DAILY_TABLES:
        assert read_table(layout, name, [DAY]).columns == TABLES[name].names
    assert len(read_table(layout, "training_examples")) == 0
    assert len(read_table(layout, "model_leaderboard")) == 0
    assert read_table(layout, "label_distribution")["examples"].to_list() == [0, 0, 0]
    found = figures(layout)
    assert (found[("lines", "")], found[("points", "")], found[("score_mean", "")]) == (0, 0, None)
    assert [found[name, ""] for name in ("model_cost", "scorer_cost", "unpriced_answers")] == [0, 0, 0]


def test_a_day_without_a_label_has_no_share_of_ties(layout: Layout) -> None:
    write_raw(layout, [point("low", {"big": 0.25, "coder": 0.25})])
    build_day(layout)
    found = figures(layout)
    assert [found[name, ""] for name in ("labelled_share", "ties", "tie_share", "margin_mean")] == [
        0,
        0,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("margins", "median"), [((0.5, 0.25), 0.25), ((0.5, 0.0625, 0.25, 0.75, 0.125), 0.25), ((0.5,), 0.5)]
)
def test_the_median_margin_is_by_rank(layout: Layout, margins: tuple[float, ...], median: float) -> None:
    """Of an even number of margins it is the lower of the two in the middle, one that occurred."""
    write_raw(layout, [point(str(margin), {"big": 1.0, "coder": 1.0 - margin}) for margin in margins])
    build_day(layout)
    assert figures(layout)["margin_p50", ""] == median
