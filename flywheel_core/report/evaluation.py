"""A router's evaluation as one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from flywheel_core.report.chart import Chart
from flywheel_core.report.charts import bar_chart
from flywheel_core.report.curves import curve_chart
from flywheel_core.report.intervals import interval_chart
from flywheel_core.report.page import CHART_WIDTH, WIDE_CHART, column, render
from flywheel_core.report.svg import number, numbers_alike
from flywheel_core.report.verdict import PER, not_compared, sentence, tiles

COST_UNIT = f"cost per {PER:,} questions, in the currency of the prices"

POLICIES = ("routed", "best_single", "random", "oracle")


@dataclass(frozen=True)
class Figure:
    """A row of the summary; texts ready to be shown."""

    name: str
    value: str
    lower: str
    upper: str
    meaning: str


@dataclass(frozen=True)
class Trade:
    """What another weight of cost would bring; texts ready to be shown.

    weight: a value of `learning.lambda_cost`; score, cost: of the answers that would be chosen, cost per
    `PER` questions; gain, saved: compared with the best single model.
    """

    weight: str
    score: str
    gain: str
    cost: str
    saved: str


def evaluation_page(figures: Mapping[str, Any], *, questions: str) -> str:
    """Return the figures of `flywheel_core/learn/evaluate.py` as HTML.

    The page has light and dark colours, fits screens of any width and has no script. questions: where they
    are from, such as "the test split of dataset ...". The same figures give the same page.
    """
    confusion: Mapping[str, Mapping[str, int]] = figures["confusion"]
    return render(
        "evaluation.html",
        evaluation_charts(figures),
        found=figures,
        questions=questions,
        verdict=sentence(figures),
        not_compared=not_compared(figures),
        tiles=tiles(figures),
        summary=summary_of(figures),
        trades=trades_of(figures),
        models=_models(figures),
        costs=column({model: _cost(one.get("cost")) for model, one in figures["singles"].items()}),
        category_costs=column(
            {
                name: _cost(row["cost"][0] if "cost" in row else None)
                for name, row in figures["categories"].items()
            }
        ),
        guesses=sorted({guess for row in confusion.values() for guess in row}),
        per=PER,
    )


def summary_of(figures: Mapping[str, Any]) -> list[Figure]:
    """Return the figures over all questions, each with its 95 % bounds, its unit and what it means."""
    overall, best = figures["overall"], figures["best_single"]
    told = {
        "routed": ("routed", 1, "", "mean score, 0 to 1, of the answers the router chose"),
        "best_single": (
            "best single model",
            1,
            "",
            f"the same if every question went to {best}, the best one on the training questions",
        ),
        "random": ("random", 1, "", "the same if a model were drawn at random"),
        "oracle": (
            "oracle",
            1,
            "",
            "the same if every score were known beforehand: the most that can be gained",
        ),
        "gain": ("gain", 1, "+", "routed minus best single model"),
        "utility_gain": ("gain in utility", 1, "+", "the same with cost and waiting weighed as configured"),
        "gap_closed": ("gap closed", 100, "%", "the gain as a share of what the oracle would gain"),
        "regret": ("regret", 1, "", "utility of the best answer minus that of the one chosen"),
        "category_accuracy": (
            "category accuracy",
            100,
            "%",
            "questions whose label is the category that the router chose",
        ),
        "category_macro_f1": ("macro-F1", 1, "", "mean over the labels of the category's F1, 0 to 1"),
        "calibration_error": (
            "calibration error",
            100,
            " points",
            "mean distance between confidence and the share that came true, out of 100",
        ),
        "curve_area": (
            "area under the curve",
            1,
            "",
            "mean score over all costs between the cheapest and the most expensive model",
        ),
        "apgr": (
            "APGR",
            100,
            "%",
            "recovered share of the gap between the two models, mean over all shares of questions sent to the stronger",
        ),
        "cpt50": (
            "CPT50",
            100,
            "%",
            "questions that have to go to the stronger model to recover half of the gap",
        ),
        "cost": (f"cost of {PER:,}", PER, "", f"{COST_UNIT}, without collecting and scoring"),
        "cost_saved": (
            "cost saved",
            100,
            "%",
            f"share of what {best} alone would cost; below 0 routing costs more",
        ),
        "seconds": ("latency", 1_000, " ms", "mean time until the chosen model's answer was complete"),
        "seconds_saved": ("time saved", 100, "%", f"share of the time that {best} alone would take"),
    }
    return [
        _row(name, overall[key], scale, unit, meaning)
        for key, (name, scale, unit, meaning) in told.items()
        if key in overall
    ]


def trades_of(figures: Mapping[str, Any]) -> list[Trade]:
    """Return the points of the cost-quality curve as settings.

    Neighbouring weights whose score and cost are shown alike are one row, which names the middle one.
    """
    best = figures["overall"]["best_single"][0]
    alone = figures["singles"].get(figures["best_single"], {}).get("cost")
    groups = [list(points) for _, points in groupby(figures["curve"], key=_shown)]
    costs = numbers_alike(alike[0][0] * PER for alike in groups)
    shown = []
    for alike, cost in zip(groups, costs, strict=True):
        paid, reached, first = alike[0]
        weight = float(f"{alike[len(alike) // 2][2]:.2g}") if first else 0.0
        saved = f"{round(1 - paid / alone, 2) + 0.0:.0%}" if alone else "-"  # a sum with 0.0 is never -0.0
        shown.append(Trade(number(weight), f"{reached:.3f}", f"{reached - best:+.3f}", cost, saved))
    return shown


def _shown(point: Sequence[float]) -> tuple[str, str]:
    """Return the mean score and the cost of a point of the curve, as they are shown."""
    cost, score, _ = point
    return f"{score:.3f}", number(cost * PER)


def evaluation_charts(figures: Mapping[str, Any]) -> dict[str, Chart]:
    """Return name -> chart for `scores`, `shares`, `gains`, `curve` and `calibration`."""
    overall, singles = figures["overall"], figures["singles"]
    curve = [(cost * PER, score) for cost, score, _ in figures["curve"]]
    said = [(100 * confidence, 100 * came) for confidence, came, _ in figures["calibration"]]
    return {
        "scores": bar_chart(
            [(name.replace("_", " "), overall[name][0]) for name in POLICIES],
            of="way of choosing",
            title="Mean score",
            unit="score, 0 to 1",
            width=CHART_WIDTH,
        ),
        "shares": bar_chart(
            [(one["model"], round(100 * one["share"][0], 1)) for one in _models(figures)],
            of="model",
            title="Questions by chosen model",
            unit="% of the questions",
            width=CHART_WIDTH,
        ),
        "gains": interval_chart(
            [
                ("all questions", overall["gain"]),
                *((name, found["gain"]) for name, found in figures["categories"].items()),
            ],
            of="category",
            title="Gain over the best single model, with 95 % bounds",
            unit="difference of mean scores",
            width=WIDE_CHART,
        ),
        "curve": curve_chart(
            {"router, the more cost weighs the further left": sorted(set(curve))} if curve else {},
            named={
                **({"as configured": (overall["cost"][0] * PER, overall["routed"][0])} if curve else {}),
                **{
                    model: (one["cost"] * PER, one["score"])
                    for model, one in singles.items()
                    if curve and "cost" in one
                },
            },
            title="Cost and quality",
            x_unit=COST_UNIT,
            y_unit="mean score, 0 to 1",
            width=WIDE_CHART,
        ),
        "calibration": curve_chart(
            {"router": said, "as it should be": [(0.0, 0.0), (100.0, 100.0)]},
            title="Confidence and what came true",
            x_unit="confidence, %",
            y_unit="questions on which the choice was as good as any, %",
            width=CHART_WIDTH,
        ),
    }


def _models(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the models, ordered by the share of questions that the router gives them."""
    shares: Mapping[str, Sequence[float]] = figures["overall"]["share"]
    return [
        {"model": model, "share": shares[model], **figures["singles"][model]}
        for model in sorted(shares, key=lambda model: (-shares[model][0], model))
    ]


def _row(name: str, bounds: Sequence[float], scale: float, unit: str, meaning: str) -> Figure:
    scaled = [one * scale for one in bounds]
    plain = not unit and scale != 1
    value, lower, upper = numbers_alike(scaled) if plain else [_text(one, unit) for one in scaled]
    return Figure(name, value, lower, upper, meaning)


def _text(value: float, unit: str) -> str:
    """Return a figure as text; the unit `+` stands for a figure shown with its sign."""
    if unit == "+":
        return f"{value:+.3f}"
    return f"{value:,.1f}{unit}" if unit else f"{value:.3f}"


def _cost(paid: float | None) -> float | None:
    return None if paid is None else paid * PER
