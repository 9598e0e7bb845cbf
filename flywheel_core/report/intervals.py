"""Differences with their bounds, one per row: right of zero is better, a line across zero may be chance."""

from collections.abc import Sequence

from flywheel_core.report.chart import Chart, Figures, chart
from flywheel_core.report.plane import AXIS_HEIGHT, PAD, ROW_HEIGHT, TITLE_HEIGHT, nothing
from flywheel_core.report.svg import (
    dot,
    fitted,
    line,
    number,
    path,
    shown_marks,
    text,
    text_width,
    ticks,
)

Bounds = Sequence[float]
"""Value, lower and upper bound."""


def interval_chart(
    rows: Sequence[tuple[str, Bounds]], *, of: str, title: str, unit: str, width: int = 640
) -> Chart:
    """Draw a dot at each value and a line from its lower to its upper bound; zero is always in view.

    rows: (name, bounds), in the order given; of: what a row stands for; unit: what the differences measure; width: px.
    """
    if not rows:
        return nothing(title, width)
    ends = [end for _, bounds in rows for end in bounds]
    marks = ticks(min(0.0, *ends), max(0.0, *ends), 4)
    label_width = min(max(text_width(name) for name, _ in rows), width * 0.38) + 8
    left = PAD + label_width
    right = width - PAD - max(text_width(f"{bounds[0]:+.3f}") for _, bounds in rows) - 10
    bottom = TITLE_HEIGHT + ROW_HEIGHT * len(rows)

    def x(value: float) -> float:
        return left + (value - marks[0]) * (right - left) / (marks[-1] - marks[0])

    parts = []
    for mark in marks:
        parts.append(line(x(mark), TITLE_HEIGHT, x(mark), bottom, "axis" if mark == 0 else "grid"))
    for mark in shown_marks(marks, x(marks[1]) - x(marks[0])):
        parts.append(text(x(mark), bottom + 16, number(mark), anchor="middle"))
    for row, (name, (value, lower, upper)) in enumerate(rows):
        y = TITLE_HEIGHT + ROW_HEIGHT * (row + 0.5)
        parts.append(text(left - 8, y + 4, fitted(name, label_width - 8), "ink", "end"))
        parts.append(path([(x(lower), y), (x(upper), y)], 0))
        parts.append(dot(x(value), y, 0, f"{name}: {value:+.3f}, {lower:+.3f} to {upper:+.3f} {unit}"))
        parts.append(text(right + 10, y + 4, f"{value:+.3f}", "ink"))
    parts.append(text((left + right) / 2, bottom + 34, unit, anchor="middle"))
    series = {end: [bounds[at] for _, bounds in rows] for at, end in enumerate(("value", "lower", "upper"))}
    figures = Figures(of, [name for name, _ in rows], series, unit)
    return chart(parts, figures, title=title, width=width, height=bottom + AXIS_HEIGHT)
