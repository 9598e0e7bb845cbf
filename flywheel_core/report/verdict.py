"""What a router's evaluation says first: a sentence and a few figures on what it gains and saves.

Both compare it with its best single model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flywheel_core.report.page import change
from flywheel_core.report.svg import number

PER = 1_000
"""Costs are shown for this many questions, because those of one are too small to read."""

Bounds = Sequence[float]
"""Value, lower and upper 95 % bound."""


def sentence(figures: Mapping[str, Any]) -> str:
    """Compare the router with its best single model in a sentence.

    What the bounds cannot tell from chance is not called a difference.
    """
    overall, best = figures["overall"], figures["best_single"]
    if overall["share"].get(best, [0.0])[0] == 1:
        return f"The router gives every question to {best}: it gains nothing and saves nothing."
    said = [f"the answers are {_better(overall['gain'], figures['questions'])}"]
    if "cost_saved" in overall:
        said.append(f"they cost {_less(overall['cost_saved'])}")
    if "seconds_saved" in overall:
        said.append(f"they take {_less(overall['seconds_saved'], ' time')}")
    listed = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
    return f"Compared with {best} for every question: {listed}."


def not_compared(figures: Mapping[str, Any]) -> str:
    """Return in words what the figures leave out, and from which days the compared questions are.

    Left out are questions that were not drawn, questions on which only some models have an outcome, days since
    the compared ones, and costs where those of only some models are known.
    """
    said = []
    could, left_out, singles = figures.get("drawn_from", 0), figures.get("left_out", 0), figures["singles"]
    if could > figures["questions"]:
        said.append(f"They are drawn from {could:,} by their hash.")
    if left_out:
        said.append(
            f"{left_out:,} further questions are not compared: not every model has an outcome on them."
        )
    if figures.get("days"):
        first, last, newest = figures["days"]
        since = f"; the newest question is from {newest}" if left_out else ""
        said.append(f"The compared ones are from {first} to {last}{since}.")
    unknown = [model for model, one in singles.items() if "cost" not in one]
    if unknown and len(unknown) < len(singles):
        said.append(f"Costs are not compared: those of {', '.join(unknown)} are not known.")
    return " ".join(said)


def tiles(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (figure, what it is), the most telling first."""
    overall, alone = figures["overall"], figures["singles"].get(figures["best_single"], {})
    gain = overall["gain"]
    shown = [
        (
            f"{gain[0]:+.3f}",
            f"mean score, {overall['best_single'][0]:.3f} → {overall['routed'][0]:.3f}"
            f" (95 %: {gain[1]:+.3f} to {gain[2]:+.3f})",
        )
    ]
    if "cost_saved" in overall:
        value, lower, upper = overall["cost_saved"]
        paid = f"{number(alone['cost'] * PER)} → {number(overall['cost'][0] * PER)}"
        told = f"cost of {PER:,} questions, {paid} (95 %: {change(-upper)} to {change(-lower)})"
        shown.append((change(-value), told))
    if "seconds_saved" in overall:
        waited = f"{alone['seconds'] * 1_000:,.0f} → {overall['seconds'][0] * 1_000:,.0f} ms"
        shown.append((change(-overall["seconds_saved"][0]), f"waiting, {waited}"))
    shown.append((f"{overall['gap_closed'][0]:.1%}", "of what an oracle would gain"))
    shown.append((f"{overall['calibration_error'][0] * 100:.1f} points", "calibration error, out of 100"))
    return shown


def _better(gain: Bounds, questions: int) -> str:
    _, lower, upper = gain
    if lower > 0:
        return "better"
    return "worse" if upper < 0 else f"neither better nor worse as far as {questions:,} questions can tell"


def _less(share: Bounds, of: str = "") -> str:
    value, lower, upper = share
    if lower > 0:
        return f"{value:.0%} less{of}"
    return f"{-value:.0%} more{of}" if upper < 0 else f"about the same{of}"
