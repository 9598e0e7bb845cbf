"""The page of a router's evaluation: what it shows, and that it loads nothing else."""

import re
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest

from flywheel_core.learn.evaluate import evaluate
from flywheel_core.learn.example_rows import read_examples
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.train import train_examples
from flywheel_core.report.curves import curve_chart
from flywheel_core.report.evaluation import evaluation_charts, evaluation_page, summary_of, trades_of
from flywheel_core.report.svg import number, text_width
from flywheel_core.report.verdict import sentence, tiles
from tests.core.learn.questions import CATEGORIES, frame
from tests.core.report.reader import Reader
from tests.core.report.test_charts import SVG, texts, tips

QUICK = Learning(trees=10, dimensions=16, folds=2, jobs=1)
SPLIT = "the test split of dataset D"


def figures_of(models: list[str]) -> dict[str, Any]:
    """Return the figures of a real router that chooses between some of the synthetic models."""
    known = read_examples(frame(600), QUICK)
    router = train_examples(
        known.pick(range(len(known)), models),  # type: ignore[arg-type]  # any sequence of row numbers works
        QUICK,
        version="the-router",
        categories=CATEGORIES,
        models=models,
    ).router
    return evaluate(router, read_examples(frame(300, seed=2), QUICK), QUICK)


@pytest.fixture(scope="module")
def three() -> dict[str, Any]:
    return figures_of(["m-code", "m-general", "m-math"])


def test_the_page_needs_nothing_but_itself(three: dict[str, Any]) -> None:
    text = evaluation_page(three, questions=SPLIT)
    reader = Reader(text)
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(reader.tags)
    assert reader.addresses == []
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "prefers-color-scheme: dark" in text
    assert (
        "default-src 'none'" in text
    )  # so that a question that slips through the escaping loads nothing either
    assert text == evaluation_page(three, questions=SPLIT)


def test_the_page_shows_summary_shares_curve_calibration_confusion_categories_and_regrets(
    three: dict[str, Any],
) -> None:
    reader = Reader(evaluation_page(three, questions=SPLIT))
    words = " ".join(" ".join(reader.words).split())
    overall = three["overall"]
    for value in (overall["routed"][0], overall["oracle"][2], three["worst"][0]["regret"]):
        assert f"{value:.3f}" in words
    for value in (*overall["gain"], three["categories"]["code"]["gain"][1]):
        assert f"{value:+.3f}" in words
    assert f"{three['overall']['share']['m-math'][0]:.1%}" in words
    assert f"{100 * three['categories']['math']['calibration_error'][0]:.1f}" in words
    assert "calibration error, points" in words
    for row in three["worst"]:
        assert row["question"] in words
    named = {**three, "worst": [{**three["worst"][0], "id": "sha256-of-it"}]}
    shown = Reader(evaluation_page(named, questions=SPLIT)).words
    assert "sha256-of-it" in shown
    assert "training_examples where data_point_id" in " ".join(shown)
    right, of_label = three["confusion"]["code"]["code"], sum(three["confusion"]["code"].values())
    assert f"{right} {right / of_label:.1%}" in words
    assert SPLIT in words
    for heading in ("Cost and quality", "Calibration", "Categories", "Confusion", "Largest regrets"):
        assert heading in words
    assert sentence(three) in words
    for figure, name in tiles(three):
        assert f"{figure} {name}" in words
    assert reader.tags.count("svg") == len(evaluation_charts(three)), "every chart is on the page"


def test_every_figure_over_all_questions_is_in_the_summary(three: dict[str, Any]) -> None:
    """Of the utility only the gain in it is shown; the shares are in the table of models."""
    overall = three["overall"]

    def rows(names: Iterable[str]) -> int:
        return len(summary_of({**three, "overall": {name: overall[name] for name in names}}))

    without = {name: rows(overall.keys() - {name}) for name in overall}
    assert [name for name, left in without.items() if left == rows(overall)] == [
        "questions",
        "utility",
        "share",
    ]


def test_figures_carry_their_units(three: dict[str, Any]) -> None:
    rows = {row.name: row for row in summary_of(three)}
    overall = three["overall"]
    assert rows["cost of 1,000"].value in ("1", "10") or float(rows["cost of 1,000"].value) == pytest.approx(
        1_000 * overall["cost"][0], abs=0.01
    )
    assert rows["cost of 1,000"].meaning.endswith("without collecting and scoring")
    assert rows["latency"].value == f"{1_000 * overall['seconds'][0]:.1f} ms"
    assert rows["gap closed"].lower == f"{100 * overall['gap_closed'][1]:.1f}%"
    assert rows["gain"].value.startswith("+")
    assert rows["macro-F1"].lower == f"{overall['category_macro_f1'][1]:.3f}"
    assert rows["calibration error"].upper == f"{100 * overall['calibration_error'][2]:.1f} points"
    assert rows["area under the curve"].lower == f"{overall['curve_area'][1]:.3f}"
    assert "APGR" not in rows


def test_two_models_have_apgr_and_cpt50() -> None:
    figures = figures_of(["m-code", "m-general"])
    rows = {row.name: row for row in summary_of(figures)}
    assert rows["APGR"].value == f"{100 * figures['overall']['apgr'][0]:.1f}%"
    assert rows["CPT50"].upper == f"{100 * figures['overall']['cpt50'][2]:.1f}%"
    assert "CPT50" in evaluation_page(figures, questions=SPLIT)


def test_without_costs_labels_and_regrets_the_page_says_so(three: dict[str, Any]) -> None:
    bare = {
        **three,
        "curve": [],
        "confusion": {},
        "worst": [],
        "categories": {},
        "overall": {
            name: value
            for name, value in three["overall"].items()
            if not name.startswith("category") and name != "curve_area"
        },
    }
    reader = Reader(evaluation_page(bare, questions=SPLIT))
    words = " ".join(reader.words)
    assert "there is no curve" in words
    assert "no category has enough questions" in words
    assert "No choice was worse" in words
    assert "Confusion" not in words
    assert reader.tags.count("svg") == 4


def test_the_effect_of_each_cost_weight_is_shown_with_its_setting(
    three: dict[str, Any],
) -> None:
    shown = trades_of(three)
    assert [float(trade.weight.replace(",", "")) for trade in shown] == sorted(
        float(trade.weight.replace(",", "")) for trade in shown
    ), "the more cost weighs the further down"
    assert shown[0].weight == "0"
    ends = (three["curve"][0], three["curve"][-1])
    assert [(trade.score, number(float(trade.cost))) for trade in (shown[0], shown[-1])] == [
        (f"{score:.3f}", number(cost * 1_000)) for cost, score, _ in ends
    ]
    alone = three["singles"][three["best_single"]]
    cost, score, _ = ends[1]
    assert shown[-1].gain == f"{score - three['overall']['best_single'][0]:+.3f}"
    assert shown[-1].saved == f"{1 - cost / alone['cost']:.0%}"
    words = " ".join(Reader(evaluation_page(three, questions=SPLIT)).words)
    assert "learning.lambda_cost" in words


def test_weights_of_cost_that_change_nothing_stand_in_one_row(three: dict[str, Any]) -> None:
    curve = [
        [0.002, 0.8, 0.0],
        [0.002, 0.8, 1.0],
        [0.001, 0.79, 10.0],
        [0.001, 0.79, 20.0],
        [0.001, 0.79, 40.0],
    ]
    shown = trades_of({**three, "curve": curve})
    assert [(trade.weight, trade.score, trade.cost) for trade in shown] == [
        ("0", "0.800", "2"),
        ("20", "0.790", "1"),
    ]
    assert trades_of({**three, "curve": []}) == []


def test_costs_in_a_column_have_equally_many_decimals_and_no_saving_has_no_sign(
    three: dict[str, Any],
) -> None:
    alone = three["singles"][three["best_single"]]["cost"]
    curve = [[0.00036, 0.8, 0.0], [0.000358, 0.81, 1.0], [alone * 1.001, 0.7, 10.0]]
    shown = trades_of({**three, "curve": curve})
    assert [trade.cost for trade in shown[:2]] == ["0.360", "0.358"]
    assert shown[2].saved == "0%"
    overall = {**three["overall"], "cost": [0.00009, 0.000081, 0.000101]}
    row = next(row for row in summary_of({**three, "overall": overall}) if row.name == "cost of 1,000")
    assert (row.value, row.lower, row.upper) == ("0.090", "0.081", "0.101")
    singles = {
        name: {**one, "cost": cost}
        for (name, one), cost in zip(three["singles"].items(), (0.00003, 0.000029, 0.00111), strict=True)
    }
    words = Reader(evaluation_page({**three, "singles": singles}, questions=SPLIT)).words
    assert {"0.030", "0.029", "1.110"} <= {word.strip() for word in words}


def test_the_bars_of_chosen_models_are_those_of_the_table_in_its_order(three: dict[str, Any]) -> None:
    shares = {"m-code": [0.17684, 0.1, 0.2], "m-general": [0.3026, 0.2, 0.4], "m-math": [0.52056, 0.4, 0.6]}
    drawn = texts(evaluation_charts({**three, "overall": {**three["overall"], "share": shares}})["shares"])
    assert [text for text in drawn if text.startswith("m-")] == ["m-math", "m-general", "m-code"]
    assert {"52.1", "30.3", "17.7"} <= set(drawn)


def test_the_page_says_on_which_questions_the_best_single_model_is_best(three: dict[str, Any]) -> None:
    """On the page's questions, another model may be better."""
    row = next(row for row in summary_of(three) if row.name == "best single model")
    assert f"{three['best_single']}, the best one on the training questions" in row.meaning


def test_printed_pages_lose_nothing_at_the_edge(three: dict[str, Any]) -> None:
    """Paper does not scroll: it would cut off the newest days of a chart and the last columns of a table."""
    text = evaluation_page(three, questions=SPLIT)
    assert re.findall(r"\.(\w+) \{[^}]*overflow-x: auto", text) == ["drawing", "panel"]
    paper = text.partition("@media print {")[2].partition("</style>")[0]
    assert ".wide .drawing, .panel { overflow: visible; }" in paper
    assert ".wide .drawing > svg { min-width: 0; }" in paper
    assert "th, td { white-space: normal;" in paper


def test_a_long_name_in_a_sentence_does_not_widen_the_page(three: dict[str, Any]) -> None:
    """On a phone, every line of the page would otherwise end outside the screen."""
    rule = re.search(r"^p \{([^}]*)\}", evaluation_page(three, questions=SPLIT), re.MULTILINE)
    assert rule is not None
    assert "overflow-wrap: break-word;" in rule[1]


def test_questions_and_names_cannot_become_markup(three: dict[str, Any]) -> None:
    evil = "<script>alert(1)</script>"
    hostile = {
        **three,
        "router": evil,
        "best_single": evil,
        "overall": {**three["overall"], "share": {evil: [1.0, 1.0, 1.0]}},
        "singles": {evil: three["singles"]["m-math"]},
        "confusion": {evil: {evil: 1}},
        "categories": {evil: three["categories"]["code"]},
        "worst": [{**three["worst"][0], "question": evil, "chosen": evil}],
    }
    reader = Reader(evaluation_page(hostile, questions=evil))
    assert "script" not in reader.tags
    assert "alert(1)" in " ".join(reader.words)


def test_a_curve_lies_where_its_values_are_on_two_measured_axes() -> None:
    chart = curve_chart(
        {"router": [(1.0, 0.5), (3.0, 0.7)]},
        named={"big": (2.0, 0.6)},
        title="Cost",
        x_unit="USD",
        y_unit="score",
    )
    shown = tips(chart, "circle")
    assert shown == [
        "router: 0.5 score, at 1 USD",
        "router: 0.7 score, at 3 USD",
        "big: 0.6 score, at 2 USD",
    ]
    dots = [
        (float(dot.attrib["cx"]), float(dot.attrib["cy"]))
        for dot in ElementTree.fromstring(chart.svg).iter(f"{SVG}circle")
    ]
    assert dots[2] == pytest.approx(((dots[0][0] + dots[1][0]) / 2, (dots[0][1] + dots[1][1]) / 2), abs=0.2)
    assert dots[0][1] > dots[1][1]
    assert {"USD", "score", "big", "0.5", "0.7", "1", "3"} <= set(texts(chart))


def test_names_of_nearby_points_never_overlap() -> None:
    crowd = {f"model-{number}": (1.0 + number / 1e6, 0.5) for number in range(30)}
    chart = curve_chart({"c": [(0.0, 0.0), (2.0, 1.0)]}, named=crowd, title="t", x_unit="x", y_unit="y")
    boxes = []
    for item in ElementTree.fromstring(chart.svg).iter(f"{SVG}text"):
        if (item.text or "").startswith("model-"):
            across, y = text_width(item.text or ""), float(item.attrib["y"])
            left = float(item.attrib["x"]) - (across if item.attrib["text-anchor"] == "end" else 0)
            boxes.append((left, left + across, y))
    dots = [float(dot.attrib["cx"]) for dot in ElementTree.fromstring(chart.svg).iter(f"{SVG}circle")][2:]
    assert 4 <= len(boxes) < 30
    for at, (left, right, y) in enumerate(boxes):
        assert all(dot < left or dot > right for dot in dots), "no name lies on a point"
        for other_left, other_right, other_y in boxes[:at]:
            assert abs(y - other_y) >= 12 or left >= other_right or right <= other_left
    assert len(tips(chart, "circle")) == 32


def test_a_curve_of_nothing_says_so() -> None:
    assert texts(curve_chart({}, title="t", x_unit="x", y_unit="y")) == ["t", "nothing to show"]


def test_a_category_without_any_labelled_question_has_no_accuracy() -> None:
    """This happens when every model fails on all of its questions."""
    known = read_examples(frame(600), QUICK)
    router = train_examples(known, QUICK, version="the-router", categories=CATEGORIES).router
    rows = frame(300, seed=2).with_columns(label=pl.lit(None, pl.String))
    figures = evaluate(router, read_examples(rows, QUICK), QUICK)
    assert figures["categories"]
    words = " ".join(Reader(evaluation_page(figures, questions=SPLIT)).words)
    assert "category accuracy" in words
    assert summary_of(figures)
