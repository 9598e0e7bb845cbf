"""The report as one self-contained HTML page."""

from datetime import datetime

from flywheel_core.report.chart import Chart
from flywheel_core.report.charts import (
    bar_chart,
    grouped_bar_chart,
    histogram,
    line_chart,
    stacked_chart,
)
from flywheel_core.report.facts import Summary
from flywheel_core.report.page import CHART_WIDTH, WIDE_CHART, column, day_names, render


def page(summary: Summary, *, made_at: datetime) -> str:
    """Return the report of `summary` as HTML: light and dark, for screens of any width, without script."""
    costs = column({model.model: model.cost for model in summary.shown_models})
    return render("report.html", _charts(summary), report=summary, costs=costs, made_at=made_at)


def _charts(summary: Summary) -> dict[str, Chart]:
    days = day_names(summary.days)
    scored = [model for model in summary.shown_models if model.mean_score is not None]
    timed = [model for model in summary.shown_models if model.latency_p50 is not None]
    return {
        "labels": bar_chart(
            [(row.label, row.examples) for row in summary.labels],
            of="label",
            title="Examples by label",
            unit="examples",
            width=CHART_WIDTH,
        ),
        "rules": bar_chart(
            list(summary.rules.items()),
            of="rule",
            title="Data points by labelling rule",
            unit="data points",
            width=CHART_WIDTH,
        ),
        "labels_by_day": stacked_chart(
            days, summary.labels_by_day, of="day", title="Labels by day", unit="examples", width=WIDE_CHART
        ),
        "models": grouped_bar_chart(
            [model.model for model in scored],
            {
                "mean score": [model.mean_score for model in scored],
                "share won": [model.win_share for model in scored],
            },
            of="model",
            title="Mean score and share of data points won",
            unit="score and share, 0 to 1",
            width=CHART_WIDTH,
        ),
        "latency": grouped_bar_chart(
            [model.model for model in timed],
            {
                "p50": [model.latency_p50 for model in timed],
                "p95": [model.latency_p95 for model in timed],
            },
            of="model",
            title="Latency",
            unit="ms",
            width=CHART_WIDTH,
        ),
        "scores": histogram(
            _edges(summary.score_histogram),
            summary.score_histogram,
            title="Scores of all responses",
            unit="responses",
            of="score",
            width=CHART_WIDTH,
        ),
        "margins": histogram(
            _edges(summary.margin_histogram),
            summary.margin_histogram,
            title="Margin of the best model over the next",
            unit="data points",
            of="margin",
            width=CHART_WIDTH,
        ),
        "labelled": line_chart(
            days,
            {"labelled": [None if share is None else share * 100 for share in summary.labelled_share_by_day]},
            of="day",
            title="Data points with a label",
            unit="%",
            width=WIDE_CHART,
        ),
        "rejects": bar_chart(
            list(summary.rejects_by_code.items()),
            of="code",
            title="Rejected lines by reason",
            unit="lines",
            width=CHART_WIDTH,
        ),
    }


def _edges(counts: tuple[int, ...]) -> list[float]:
    return [index / len(counts) for index in range(len(counts) + 1)] if counts else [0.0]
