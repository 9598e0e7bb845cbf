"""A replay as one HTML page that needs nothing but itself."""

from html import escape

from flywheel_core.learn.replay_result import Replay
from flywheel_core.report.charts import line_chart
from flywheel_core.report.svg import number

WIDTH = 940
_STYLE = (
    "body{font:15px system-ui,sans-serif;max-width:960px;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "table{border-collapse:collapse}td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #8884}"
    "td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}"
)


def replay_page(result: Replay) -> str:
    """Routed score per day against the best single model so far, chance and the oracle, promotions marked; no script."""
    summary = result.summary()
    head = "<p>No day was served by a router.</p>"
    if summary is not None:
        head = (
            f"<p>{summary.questions:,} questions on {summary.days} days, models {escape(', '.join(result.models))}. "
            f"Gain over the best single model <b>{summary.gain:+.4f}</b> "
            f"(95 %: {summary.gain_low:+.4f} to {summary.gain_high:+.4f}), {summary.promotions} promotions.</p>"
        )
    days = [f"{day.day:%m-%d}" for day in result.days]
    scores = line_chart(
        days,
        {
            "flywheel": [day.routed for day in result.days],
            "best single so far": [day.best_single for day in result.days],
            "random": [day.random for day in result.days],
            "oracle": [day.oracle for day in result.days],
            "promotion": [
                (day.routed if day.routed is not None else day.random) if day.verdict == "promoted" else None
                for day in result.days
            ],
        },
        title="Mean score per day",
        unit="score, 0 to 1",
        width=WIDTH,
    )
    gains = line_chart(
        days,
        {"gain so far": _gain_so_far(result)},
        title="Gain over the best single model, all days so far",
        unit="points of 100",
        width=WIDTH,
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td>{escape(cell)}</td>"
            for cell in (
                str(day.day),
                f"{day.questions:,}",
                *(_figure(value) for value in (day.routed, day.best_single, day.random, day.oracle)),
                day.router or "–",
                day.verdict or "–",
            )
        )
        + "</tr>"
        for day in result.days
    )
    columns = ("day", "questions", "flywheel", "best single", "random", "oracle", "router", "challenger")
    header = "".join(f"<th>{name}</th>" for name in columns)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Replay</title>'
        f"<style>{_STYLE}</style><h1>Replay</h1>{head}{scores}{gains}"
        f"<table><tr>{header}</tr>{rows}</table></html>\n"
    )


def _gain_so_far(result: Replay) -> list[float | None]:
    total, questions = 0.0, 0
    found: list[float | None] = []
    for day in result.days:
        if day.routed is not None:
            total, questions = total + day.gain_sum, questions + day.questions
        found.append(100 * total / questions if questions else None)
    return found


def _figure(value: float | None) -> str:
    return "–" if value is None else number(value)
