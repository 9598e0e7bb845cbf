"""The leaderboard of a day: contests, wins, mean scores and latencies of each model."""

import pytest

from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import read_table
from tests.core.lake.lakes import (
    build_day,
    point,
    response,
    write_mixed_day,
    write_raw,
)


def test_the_leaderboard_has_every_model_of_the_day(layout: Layout) -> None:
    write_mixed_day(layout)
    build_day(layout)
    table = read_table(layout, "model_leaderboard")
    assert table["model"].to_list() == ["stranger", "algebra", "big", "coder"]
    rows = {row["model"]: row for row in table.to_dicts()}
    big = rows["big"]
    assert (big["responses"], big["scored"], big["failed"], big["contests"], big["wins"]) == (5, 5, 0, 5, 3)
    assert (big["mean_score"], big["win_rate"], big["cost"], big["mean_cost"]) == (0.45, 0.6, 1.25, 0.25)
    coder = rows["coder"]
    assert (coder["responses"], coder["failed"], coder["failure_rate"]) == (3, 1, 1 / 3)
    assert (rows["stranger"]["category"], rows["stranger"]["place"]) == (None, 1)


def test_a_tie_of_models_that_the_configuration_does_not_know_is_nobody_s_win(layout: Layout) -> None:
    """Nothing but their names could decide it, above the minimum score and below."""
    write_raw(
        layout,
        [
            point("tied", {"stranger a": 1.0, "stranger b": 1.0}),
            point("near", {"stranger a": 0.99, "stranger b": 1.0}),
            point("low", {"stranger a": 0.0, "stranger b": 0.0}),
            point("clear", {"stranger a": 0.5, "stranger b": 1.0}),
            point("known", {"stranger a": 1.0, "big": 1.0}),
        ],
    )
    build_day(layout)
    rows = {row["model"]: row for row in read_table(layout, "model_leaderboard").to_dicts()}
    assert {model: (row["wins"], row["contests"]) for model, row in rows.items()} == {
        "stranger a": (0, 5),
        "stranger b": (1, 4),
        "big": (1, 1),
    }


def test_a_model_that_is_asked_what_it_is_good_at_does_not_lead_by_it(layout: Layout) -> None:
    """Asked as with `production.baseline`: the router's choice always, one of two others half of the time."""
    values = []
    for number in range(40):
        kind = "math" if number % 4 == 0 else "story"
        chosen, others = ("algebra", ("big", "coder")) if kind == "math" else ("big", ("algebra", "coder"))
        drawn = others[number // 4 % 2]
        right = {"algebra": 0.9 if kind == "math" else 0.2, "big": 0.6, "coder": 0.3}
        asked = {chosen: 1.0, **dict.fromkeys(others, 0.5)}
        scores = {model: right[model] for model in (chosen, drawn)}
        values.append(point(f"p{number}", scores, asked=asked))
    write_raw(layout, values)
    build_day(layout)
    table = read_table(layout, "model_leaderboard")
    found = dict(zip(table["model"], table["mean_score"], strict=True))
    assert found["algebra"] == pytest.approx((10 * 0.9 + 30 * 0.2) / 40, abs=0.01)
    assert found["big"] == pytest.approx(0.6)
    assert table["model"].to_list() == ["big", "algebra", "coder"]


def test_a_response_of_unknown_probability_stands_for_one_question(layout: Layout) -> None:
    """Such as that of a point of another gateway, on a day on which Flywheel's own collected too."""
    drawn = point("drawn", {"big": 0.1234, "coder": 0.5}, asked={"big": 0.25, "coder": 1.0})
    write_raw(layout, [drawn, point("foreign", {"big": 0.0, "coder": 0.5})])
    build_day(layout)
    rows = {row["model"]: row for row in read_table(layout, "model_leaderboard").to_dicts()}
    assert rows["big"]["mean_score"] == pytest.approx((4 * 0.1234 + 0.0) / 5)


def test_a_model_that_was_never_compared_has_no_contest_and_no_rate_of_wins(layout: Layout) -> None:
    write_raw(layout, [point("alone", {"big": 0.5}), point("unscored", {"big": None, "algebra": 0.5})])
    build_day(layout)
    rows = read_table(layout, "model_leaderboard").to_dicts()
    assert {(row["contests"], row["wins"], row["win_rate"]) for row in rows} == {(0, 0, None)}
    assert [row["model"] for row in rows] == ["algebra", "big"], "equal ones by name"


def test_a_model_without_any_score_is_last(layout: Layout) -> None:
    write_raw(layout, [point("a", {"algebra": None, "big": 0.0, "coder": 0.5})])
    build_day(layout)
    rows = read_table(layout, "model_leaderboard").to_dicts()
    assert [(row["place"], row["model"], row["mean_score"]) for row in rows] == [
        (1, "coder", 0.5),
        (2, "big", 0.0),
        (3, "algebra", None),
    ]


def test_latencies_are_exact_percentiles_by_rank(layout: Layout) -> None:
    values = []
    for number in range(1, 41):
        value = point(f"p{number}", {"algebra": 0.5, "big": 0.5})
        value["responses"]["algebra"]["latency_ms"] = number * 10
        value["responses"]["big"]["latency_ms"] = number * 7 + 5
        value["responses"]["coder"] = response("coder", answer=None, error="timeout", latency_ms=1)
        values.append(value)
    silent = point("silent", {"algebra": 0.5, "big": 0.5})
    for outcome in silent["responses"].values():
        outcome["latency_ms"] = None
    values.append(silent)
    write_raw(layout, values)
    build_day(layout)
    rows = read_table(layout, "model_leaderboard").to_dicts()
    assert {row["model"]: (row["latency_p50_ms"], row["latency_p95_ms"]) for row in rows} == {
        "algebra": (200, 380),
        "big": (145, 271),
        "coder": (None, None),
    }, "neither failures nor unknown latencies count"


def test_a_mean_cost_is_that_of_the_answers_whose_cost_is_known(layout: Layout) -> None:
    points = [point(name, {"big": 0.5, "coder": 0.5}) for name in "ab"]
    for value, cost in zip(points, (0.5, None), strict=True):
        value["responses"]["big"]["cost"] = cost
        value["responses"]["coder"]["cost"] = None
    write_raw(layout, points)
    build_day(layout)
    rows = read_table(layout, "model_leaderboard").to_dicts()
    assert {row["model"]: (row["cost"], row["mean_cost"]) for row in rows} == {
        "big": (0.5, 0.5),
        "coder": (None, None),
    }
