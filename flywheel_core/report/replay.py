"""A replay as one self-contained HTML page."""

from flywheel_core.learn.replay_result import Replay
from flywheel_core.report.charts import line_chart
from flywheel_core.report.page import WIDE_CHART, day_names, render


def replay_page(result: Replay) -> str:
    """Return the page of a replay, without script.

    It shows the routed score per day beside the best single model so far, chance and the oracle, with
    promotions marked.
    """
    days = day_names([day.day for day in result.days])
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
        of="day",
        title="Mean score per day",
        unit="score, 0 to 1",
        width=WIDE_CHART,
        events=("promotion",),
    )
    gains = line_chart(
        days,
        {"gain so far": _gain_so_far(result)},
        of="day",
        title="Gain over the best single model, all days so far",
        unit="points of 100",
        width=WIDE_CHART,
    )
    return render("replay.html", {"scores": scores, "gains": gains}, replay=result, summary=result.summary())


def _gain_so_far(result: Replay) -> list[float | None]:
    total, questions = 0.0, 0
    found: list[float | None] = []
    for day in result.days:
        if day.routed is not None:
            total, questions = total + day.gain_sum, questions + day.questions
        found.append(100 * total / questions if questions else None)
    return found
