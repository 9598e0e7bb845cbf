"""Pages for those who do not see their charts, or who use the keyboard: names, tables, headings."""

from datetime import UTC, date, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from flywheel_core.config import Config
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import DAILY_TABLES, build_table
from flywheel_core.learn.replay_result import DayResult, Replay
from flywheel_core.report.chart import NOTHING, Chart
from flywheel_core.report.charts import bar_chart, grouped_bar_chart, histogram, line_chart, stacked_chart
from flywheel_core.report.curves import curve_chart
from flywheel_core.report.evaluation import evaluation_page
from flywheel_core.report.html import page
from flywheel_core.report.intervals import interval_chart
from flywheel_core.report.replay import replay_page
from flywheel_core.report.summary import summarise
from tests.cli.recorded import DAY_ONE, DAY_TWO, record
from tests.core.report.test_evaluation import SPLIT, figures_of

DAYS = [
    DayResult(
        day=date(2026, 1, day),
        questions=10,
        router="r",
        routed=0.8,
        best_single=0.7,
        best_model="a",
        random=0.5,
        oracle=0.9,
        verdict="promoted",
    )
    for day in (5, 6)
]

Attributes = dict[str, str]


class Outline(HTMLParser):
    """Collects (tag, attributes, text) of all elements, and which are inside which figure."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Attributes, list[str]]] = []
        self.figures: list[list[str]] = []
        self._open: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "meta":
            return
        if tag == "figure":
            self.figures.append([])
        elif "figure" in [self.elements[at][0] for at in self._open]:
            self.figures[-1].append(tag)
        self._open.append(len(self.elements))
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open:
            self.elements[self._open[-1]][2].append(data)

    def all(self, *tags: str) -> list[tuple[Attributes, str]]:
        return [(attrs, "".join(words).strip()) for tag, attrs, words in self.elements if tag in tags]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outline]:
    """All pages: the report of two days, an evaluation, a replay."""
    layout, config = Layout(Path(tmp_path_factory.mktemp("lake"))), Config()
    record(layout.root)
    for day in (DAY_ONE, DAY_TWO):
        ingest_day(layout, day, config)
        for name in DAILY_TABLES[2:]:
            build_table(layout, name, day, config)
    made = {
        "report": page(summarise(layout, [DAY_ONE, DAY_TWO]), made_at=datetime(2026, 1, 7, tzinfo=UTC)),
        "evaluation": evaluation_page(figures_of(["m-code", "m-general", "m-math"]), questions=SPLIT),
        "replay": replay_page(Replay(key="k", models=["a", "b"], days=DAYS)),
    }
    return {name: Outline(text) for name, text in made.items()}


ALL = pytest.mark.parametrize("name", ["report", "evaluation", "replay"])


@ALL
def test_every_chart_has_a_name_a_description_and_its_figures_as_a_table(
    pages: dict[str, Outline], name: str
) -> None:
    shown = pages[name]
    charts = shown.all("svg")
    assert charts
    assert len(shown.figures) == len(charts)
    for inside in shown.figures:
        assert [inside.count(tag) for tag in ("svg", "desc", "details", "summary", "table")] == [1] * 5
    titles = [attrs["aria-label"] for attrs, _ in charts]
    assert [text for _, text in shown.all("summary")] == [f"{title}: figures" for title in titles]
    assert all(attrs["role"] == "img" for attrs, _ in charts)
    assert all(text.startswith("By ") and any(map(str.isdigit, text)) for _, text in shown.all("desc"))


@ALL
def test_every_table_has_a_name_and_every_heading_cell_a_scope(pages: dict[str, Outline], name: str) -> None:
    shown = pages[name]
    tables = [attrs.get("aria-label") for attrs, _ in shown.all("table")]
    assert all(tables)
    assert len(set(tables)) == len(tables), "a list of the tables tells them apart"
    heads = shown.all("th")
    assert {attrs.get("scope") for attrs, _ in heads} == {"col", "row"}
    assert all(text for attrs, text in heads if attrs["scope"] == "col")


@ALL
def test_whatever_scrolls_can_be_reached_by_keyboard_and_has_a_name(
    pages: dict[str, Outline], name: str
) -> None:
    shown = pages[name]
    wide = [attrs for attrs, _ in shown.all("figure") if attrs.get("class") == "wide"]
    scrolling = [attrs for attrs, _ in shown.all("div") if attrs.get("tabindex") == "0"]
    panels = [attrs for attrs, _ in shown.all("div") if attrs.get("class") == "panel"]
    assert len(panels) == len(shown.all("table"))
    assert len(scrolling) == len(panels) + len(wide)
    assert all(attrs["role"] == "group" and attrs["aria-label"] for attrs in scrolling)


@ALL
def test_headings_begin_with_one_first_and_skip_no_level(pages: dict[str, Outline], name: str) -> None:
    levels = [int(tag[1]) for tag, _, _ in pages[name].elements if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= level + 1 for level, later in pairwise(levels))
    assert [attrs["lang"] for attrs, _ in pages[name].all("html")] == ["en"]
    assert len(pages[name].all("main")) == 1


@pytest.mark.parametrize(
    ("chart", "columns", "rows"),
    [
        (
            bar_chart([("math", 300), ("code", 1200)], of="label", title="t", unit="examples"),
            ("label", "examples"),
            (("math", "300"), ("code", "1,200")),
        ),
        (
            grouped_bar_chart(
                ["a", "b"], {"p50": [1, 2], "p95": [0.5, None]}, of="model", title="t", unit="ms"
            ),
            ("model", "p50", "p95"),
            (("a", "1", "0.5"), ("b", "2", NOTHING)),
        ),
        (
            stacked_chart(["01-01"], {"x": [1], "y": [0]}, of="day", title="t", unit="examples"),
            ("day", "x", "y"),
            (("01-01", "1", "0"),),
        ),
        (
            line_chart(["01-01", "01-02"], {"x": [0.25, None]}, of="day", title="t", unit="%"),
            ("day", "x"),
            (("01-01", "0.25"), ("01-02", NOTHING)),
        ),
        (
            histogram([0, 0.5, 1], [3, 5], of="score", title="t", unit="responses"),
            ("score", "responses"),
            (("0 to 0.5", "3"), ("0.5 to 1", "5")),
        ),
        (
            interval_chart([("all", [0.2, -0.1, 0.4])], of="category", title="t", unit="points"),
            ("category", "value", "lower", "upper"),
            (("all", "0.2", "-0.1", "0.4"),),
        ),
        (
            curve_chart(
                {"router": [(1.0, 0.5)]}, named={"big": (2.5, 0.6)}, title="t", x_unit="cost", y_unit="score"
            ),
            ("curve or point", "cost", "score"),
            (("router", "1.0", "0.5"), ("big", "2.5", "0.6")),
        ),
    ],
)
def test_the_figures_of_every_kind_of_chart_are_a_table(
    chart: Chart, columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...]
) -> None:
    assert (chart.columns, chart.rows) == (columns, rows)
    assert f"<desc>{chart.description}</desc>" in chart.svg


def test_a_description_tells_the_range_of_each_series_with_its_ends() -> None:
    shown: dict[str, list[float | None]] = {
        "x": [3, 1, 2],
        "y": [None, 0.5, None],
        "z": [4, 4, None],
        "no": [None] * 3,
    }
    chart = line_chart(["a", "b", "c"], shown, of="day", title="t", unit="ms")
    assert chart.description == "By day, in ms. x: 1 (b) to 3 (a); y: 0.5 (b); z: 4 throughout."
    many = stacked_chart(["a"], {str(at): [1] for at in range(20)}, of="day", title="t", unit="u")
    assert many.description.endswith("7: 1 (a); and 12 more series.")
    assert bar_chart([], of="label", title="t", unit="u").description == "nothing to show"


def test_a_name_of_a_megabyte_is_cut_in_the_table_and_in_the_description() -> None:
    chart = bar_chart([("a" * 1_000_000, 1.0)], of="model", title="t", unit="u")
    assert len(chart.rows[0][0]) + len(chart.description) < 1_000
