"""Charts: what they show, and that they need nothing else."""

import itertools
import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel_core.report import charts, svg
from flywheel_core.report.chart import Chart
from flywheel_core.report.charts import (
    GAP,
    bar_chart,
    grouped_bar_chart,
    histogram,
    line_chart,
    stacked_chart,
)
from flywheel_core.report.svg import (
    fitted,
    number,
    numbers_alike,
    text_width,
    ticks,
)

SVG = "{http://www.w3.org/2000/svg}"

values = st.floats(-1e9, 1e9, allow_nan=False)
names = st.text(max_size=60)


def shapes(chart: Chart, kind: str = "rect") -> list[ElementTree.Element]:
    """Return the shapes that stand for data: those with a title of their own."""
    found = ElementTree.fromstring(chart.svg).iter(f"{SVG}{kind}")
    return [shape for shape in found if shape.find(f"{SVG}title") is not None]


def tips(chart: Chart, kind: str = "rect") -> list[str]:
    return [shape.findtext(f"{SVG}title") or "" for shape in shapes(chart, kind)]


def texts(chart: Chart) -> list[str]:
    return [item.text or "" for item in ElementTree.fromstring(chart.svg).iter(f"{SVG}text")]


def test_a_bar_is_as_long_as_its_value() -> None:
    chart = bar_chart([("math", 300), ("code", 150), ("none", 0)], of="of", title="Labels", unit="examples")
    widths = [float(bar.attrib["width"]) for bar in shapes(chart)]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)
    assert widths[2] == 0
    assert tips(chart) == ["math: 300 examples", "code: 150 examples", "none: 0 examples"]
    assert {"Labels", "math", "300", "examples"} <= set(texts(chart))


def test_bars_below_zero_end_at_the_zero_line() -> None:
    chart = bar_chart([("worse", -2), ("better", 4)], of="of", title="Lift", unit="pp")
    worse, better = shapes(chart)
    end = float(worse.attrib["x"]) + float(worse.attrib["width"])
    assert end == pytest.approx(float(better.attrib["x"]), abs=0.2)


def test_parts_of_a_column_stand_on_one_another_and_carry_their_share() -> None:
    chart = stacked_chart(
        ["01-01", "01-02"], {"math": [30, 10], "code": [10, 0]}, of="of", title="Days", unit="examples"
    )
    shown = [tip for tip in tips(chart) if ":" in tip]
    assert shown == [
        "01-01, math: 30 examples (75%)",
        "01-01, code: 10 examples (25%)",
        "01-02, math: 10 examples (100%)",
    ]
    math_part, code_part = shapes(chart)[2:4]
    end = float(code_part.attrib["y"]) + float(code_part.attrib["height"])
    assert end + GAP == pytest.approx(float(math_part.attrib["y"]), abs=0.2), (
        "a line of background parts them, whose colours may be too alike"
    )


def test_a_line_has_a_gap_where_there_is_no_value() -> None:
    chart = line_chart(
        ["a", "b", "c", "d"], {"mean": [0.1, None, 0.3, 0.4]}, of="of", title="Means", unit="score"
    )
    lines = [item.attrib["points"] for item in ElementTree.fromstring(chart.svg).iter(f"{SVG}polyline")]
    assert [len(points.split()) for points in lines] == [1, 2]
    assert tips(chart, "circle") == ["a, mean: 0.1 score", "c, mean: 0.3 score", "d, mean: 0.4 score"]


def test_single_events_are_dots_without_a_line() -> None:
    """Two promotions on days in a row would otherwise look like a development."""
    shown: dict[str, list[float | None]] = {"score": [0.1, 0.2, 0.3], "promotion": [None, 0.2, 0.3]}
    chart = line_chart(["1", "2", "3"], shown, of="of", title="t", unit="score", events=("promotion",))
    assert [line.attrib["class"] for line in ElementTree.fromstring(chart.svg).iter(f"{SVG}polyline")] == [
        "path s0 d0",  # the line of the score, and its key
        "path s0 d0",
    ]
    radius = {dot.attrib["class"]: float(dot.attrib["r"]) for dot in shapes(chart, "circle")}
    assert radius["s1"] > radius["s0"], "an event is seen on the dot below it"


def test_a_histogram_names_both_edges() -> None:
    chart = histogram([0, 0.5, 1], [3, 5], title="Scores", unit="responses", of="score")
    assert tips(chart) == ["score 0 to 0.5: 3 responses", "score 0.5 to 1: 5 responses"]
    assert {"0", "0.5", "1"} <= set(texts(chart))


def test_a_group_has_one_bar_a_series_and_a_legend() -> None:
    chart = grouped_bar_chart(
        ["big", "small"], {"score": [0.9, 0.4], "wins": [0.7, 0.3]}, of="of", title="Models", unit="share"
    )
    assert tips(chart)[2:] == [
        "big, score: 0.9 share",
        "big, wins: 0.7 share",
        "small, score: 0.4 share",
        "small, wins: 0.3 share",
    ]


@pytest.mark.parametrize(
    "chart",
    [
        bar_chart([], of="of", title="t", unit="u"),
        line_chart([], {}, of="of", title="t", unit="u"),
        line_chart(["a"], {"x": [None]}, of="of", title="t", unit="u"),
        stacked_chart(["a"], {"x": [0]}, of="of", title="t", unit="u"),
        histogram([0, 1], [0], title="t", unit="u", of="x"),
    ],
)
def test_a_chart_of_nothing_says_so(chart: Chart) -> None:
    assert texts(chart) == ["t", "nothing to show"]


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_values_that_no_chart_can_show_are_refused(odd: float) -> None:
    with pytest.raises(ValueError, match="cannot show"):
        bar_chart([("a", odd)], of="of", title="t", unit="u")
    with pytest.raises(ValueError, match="cannot show"):
        line_chart(["a"], {"x": [odd]}, of="of", title="t", unit="u")


def test_series_of_another_length_and_parts_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="has 1 values for 2 names"):
        line_chart(["a", "b"], {"x": [1.0]}, of="of", title="t", unit="u")
    with pytest.raises(ValueError, match="at least 0"):
        stacked_chart(["a"], {"x": [-1]}, of="of", title="t", unit="u")
    with pytest.raises(ValueError, match="3 edges"):
        histogram([0, 1], [1, 2], title="t", unit="u", of="x")


@given(st.lists(st.tuples(names, values), max_size=6), names)
def test_any_text_and_any_value_give_well_formed_xml_of_the_width_asked(
    rows: list[tuple[str, float]], title: str
) -> None:
    root = ElementTree.fromstring(bar_chart(rows, of="of", title=title, unit="x", width=400).svg)
    assert root.attrib["width"] == "400"
    for bar in root.iter(f"{SVG}rect"):
        assert 0 <= float(bar.attrib.get("x", "0")) <= 400
        assert float(bar.attrib.get("x", "0")) + float(bar.attrib["width"]) <= 401


def test_a_chart_stands_alone_without_script_or_address() -> None:
    chart = bar_chart([("<script>alert(1)</script>", 1)], of="of", title='"&\x00\ud800', unit="<b>")
    assert "<script" not in chart.svg
    assert re.findall(r"(?:href|src|url|@import)", chart.svg) == []
    assert re.findall(r"https?://[^\"]*", chart.svg) == ["http://www.w3.org/2000/svg"]
    assert "prefers-color-scheme:dark" in chart.svg


@given(st.floats(-1e12, 1e12), st.floats(0, 1e12))
def test_ticks_are_few_evenly_spaced_and_hold_the_range(low: float, span: float) -> None:
    marks = ticks(low, low + span)
    unseen = 1e-6 * max(1, abs(low) + span)
    assert marks[0] <= low + unseen
    assert marks[-1] >= low + span - unseen
    assert 2 <= len(marks) <= 9


@given(st.text(), st.floats(20, 300))
def test_fitted_text_is_no_wider_than_asked(text: str, width: float) -> None:
    assert text_width(fitted(text, width)) <= width


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (0.5, "0.5"),
        (12.345, "12.35"),
        (0.1234, "0.123"),
        (1e-7, "1e-07"),
        (-3, "-3"),
    ],
)
def test_figures_are_short(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("figures", "texts"),
    [
        ([0.839, 0.73, 0], ["0.839", "0.730", "0.000"]),
        ([16.32, 30.5], ["16.32", "30.50"]),
        ([3, 20], ["3", "20"]),
        ([1234567, 0.5], ["1,234,567", "0.5"]),
        ([1e-7, 0.25], ["1e-07", "0.25"]),
        ([], []),
    ],
)
def test_figures_below_each_other_have_as_many_decimals(figures: list[float], texts: list[str]) -> None:
    assert numbers_alike(figures) == texts


def test_the_figures_of_bars_are_alike() -> None:
    drawn = grouped_bar_chart(
        ["a", "b"], {"one": [0.839, 0.73], "two": [0.5, 0.25]}, of="of", title="t", unit="score"
    )
    ends = [found.text for found in ElementTree.fromstring(drawn.svg).iter(f"{SVG}text") if found.text]
    assert [found for found in ends if found in ("0.839", "0.500", "0.730", "0.250")] == [
        "0.839",
        "0.500",
        "0.730",
        "0.250",
    ]


def test_long_names_that_begin_alike_are_told_apart() -> None:
    names = [f"openrouter/meta-llama/llama-3.1-{size}b-instruct" for size in (8, 70, 405)]
    chart = bar_chart([(name, 1.0) for name in names], of="of", title="t", unit="u", width=460)
    cut = [shown for shown in texts(chart) if "…" in shown]
    assert len(set(cut)) == len(cut) == 3
    assert all(shown.startswith("open") and shown.endswith("b-instruct") for shown in cut)


def test_figures_below_an_axis_never_overlap() -> None:
    chart = bar_chart(
        [("a category of a long name", 12_345_678.0)], of="of", title="t", unit="examples", width=460
    )
    marks = [
        (float(item.attrib["x"]), text_width(item.text or ""))
        for item in ElementTree.fromstring(chart.svg).iter(f"{SVG}text")
        if item.attrib["text-anchor"] == "middle" and item.text != "examples"
    ]
    assert len(marks) >= 2
    for (x, width), (after, after_width) in itertools.pairwise(marks):
        assert x + width / 2 < after - after_width / 2


def test_dots_of_many_days_leave_their_lines_in_view() -> None:
    def radius(count: int) -> set[str]:
        days = [str(day) for day in range(count)]
        chart = line_chart(
            days, {"a": [0.5] * count, "b": [None, 0.5, *[None] * (count - 2)]}, of="of", title="t", unit="u"
        )
        return {dot.attrib["r"] for dot in ElementTree.fromstring(chart.svg).iter(f"{SVG}circle")}

    assert radius(7) == {"3"}
    assert radius(400) == {"1", "3"}, "a value that stands alone, such as a promotion, is seen all the same"


def test_a_name_of_a_megabyte_is_measured_only_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring the whole name after each letter that is cut would take minutes at 64 KiB."""
    measured = []

    def counting(text: str, size: float = 12) -> float:
        measured.append(len(text))
        return text_width(text, size)

    monkeypatch.setattr(svg, "text_width", counting)
    monkeypatch.setattr(charts, "text_width", counting)
    name = "a" * 500_000 + "b" * 500_000
    chart = bar_chart([(name, 1.0)], of="of", title="t", unit="u", width=460)
    assert sum(measured) < 5 * len(name)
    assert len(chart.svg) < 10_000
    (cut,) = [shown for shown in texts(chart) if "…" in shown]
    assert cut.startswith("aaa")
    assert cut.endswith("bbb")
