"""What an evaluation says first: the differences that its bounds distinguish from chance, and no others."""

from typing import Any
from xml.etree import ElementTree

import pytest

from flywheel_core.report.intervals import interval_chart
from flywheel_core.report.verdict import sentence, tiles
from tests.core.report.test_charts import SVG, texts, tips


def figures(gain: list[float], **overall: list[float]) -> dict[str, Any]:
    """Return an evaluation of 400 questions with these figures."""
    return {
        "best_single": "big",
        "questions": 400,
        "singles": {"big": {"score": 0.7, "cost": 0.002, "seconds": 0.5}},
        "overall": {
            "gain": gain,
            "best_single": [0.7, 0.68, 0.72],
            "routed": [0.7 + gain[0], 0.7 + gain[1], 0.7 + gain[2]],
            "gap_closed": [0.5, 0.4, 0.6],
            "calibration_error": [0.049, 0.03, 0.08],
            "share": {"big": [0.3, 0.2, 0.4], "small": [0.7, 0.6, 0.8]},
            **overall,
        },
    }


def test_a_router_that_is_better_and_cheaper_is_said_to_be() -> None:
    found = figures(
        [0.1, 0.05, 0.15],
        cost=[0.0005, 0.0004, 0.0006],
        cost_saved=[0.75, 0.7, 0.8],
        seconds=[0.6, 0.5, 0.7],
        seconds_saved=[-0.2, -0.4, -0.1],
    )
    assert sentence(found) == (
        "Compared with big for every question: the answers are better, they cost 75% less and they take 20% more time."
    )
    shown = dict(tiles(found))
    assert shown["+0.100"] == "mean score, 0.700 → 0.800 (95 %: +0.050 to +0.150)"
    assert shown["-75.0%"] == "cost of 1,000 questions, 2 → 0.5 (95 %: -80.0% to -70.0%)"
    assert shown["+20.0%"] == "waiting, 500 → 600 ms"
    assert shown["4.9 points"] == "calibration error, out of 100"


@pytest.mark.parametrize(
    ("gain", "saved", "said"),
    [
        (
            [0.01, -0.01, 0.03],
            [0.1, -0.1, 0.2],
            "neither better nor worse as far as 400 questions can tell and they cost about the same.",
        ),
        ([-0.1, -0.2, -0.05], [-0.5, -0.6, -0.4], "worse and they cost 50% more."),
    ],
)
def test_a_difference_within_chance_is_none_and_a_loss_is_called_a_loss(
    gain: list[float], saved: list[float], said: str
) -> None:
    found = figures(gain, cost=[0.001] * 3, cost_saved=saved)
    assert sentence(found).endswith(f"the answers are {said}")


def test_a_wait_within_chance_is_the_same_time() -> None:
    found = figures([0.1, 0.05, 0.15], seconds=[0.6, 0.5, 0.7], seconds_saved=[0.02, -0.1, 0.1])
    assert sentence(found).endswith("better and they take about the same time.")


def test_without_costs_and_latencies_nothing_is_said_about_them() -> None:
    found = figures([0.1, 0.05, 0.15])
    assert sentence(found) == "Compared with big for every question: the answers are better."
    assert len(tiles(found)) == 3


def test_a_router_that_asks_one_model_saves_nothing() -> None:
    found = figures([0.0] * 3, share={"big": [1.0, 1.0, 1.0]})  # type: ignore[arg-type]  # shares are by model
    assert "gives every question to big" in sentence(found)


def test_bounds_lie_where_their_values_are_with_zero_in_view() -> None:
    chart = interval_chart(
        [("all", [0.2, 0.1, 0.4]), ("数学", [-0.1, -0.3, 0.1])], of="group", title="Gain", unit="points"
    )
    assert tips(chart, "circle") == [
        "all: +0.200, +0.100 to +0.400 points",
        "数学: -0.100, -0.300 to +0.100 points",
    ]
    drawn = ElementTree.fromstring(chart.svg)
    dots = [float(dot.attrib["cx"]) for dot in drawn.iter(f"{SVG}circle")]
    spans = [
        [float(end.split(",")[0]) for end in one.attrib["points"].split()]
        for one in drawn.iter(f"{SVG}polyline")
    ]
    zero = next(float(one.attrib["x1"]) for one in drawn.iter(f"{SVG}line") if one.attrib["class"] == "axis")
    assert zero < spans[0][0] < dots[0] < spans[0][1]
    assert spans[1][0] < dots[1] < zero < spans[1][1]
    assert (dots[0] - zero) == pytest.approx(2 * (zero - dots[1]), abs=0.3)
    assert {"+0.200", "-0.100", "0", "points"} <= set(texts(chart))


def test_bounds_of_nothing_say_so() -> None:
    assert texts(interval_chart([], of="of", title="t", unit="u")) == ["t", "nothing to show"]
