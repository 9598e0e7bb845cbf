"""Charts as SVG text: bars, stacked bars, lines and histograms, each with its unit on the axis and values on hover.

What is drawn with is in `flywheel_core/report/svg.py`.
"""

import math
from collections.abc import Iterable, Sequence

from flywheel_core.report.svg import bar, drawing, fitted, line, number, text, text_width, ticks

PAD = 16
TITLE_HEIGHT = 40
AXIS_HEIGHT = 44
ROW_HEIGHT = 26


def bar_chart(rows: Sequence[tuple[str, float]], *, title: str, unit: str, width: int = 640) -> str:
    """Horizontal bars, one a row, in the order given, each with its figure.

    rows: (name, value) with finite values; unit: what the values count, such as "examples" or "ms"; width: px.
    Raises ValueError for a value that is not finite.
    """
    _refuse_odd_values(value for _, value in rows)
    if not rows:
        return _nothing(title, width)
    names = min(max(text_width(name) for name, _ in rows), width * 0.38) + 8
    figures = max(text_width(number(value)) for _, value in rows) + 10
    left, right = PAD + names, width - PAD - figures
    marks = ticks(min(0.0, *(value for _, value in rows)), max(0.0, *(value for _, value in rows)), 4)
    scale = (right - left) / (marks[-1] - marks[0])

    def x(value: float) -> float:
        return left + (value - marks[0]) * scale

    bottom = TITLE_HEIGHT + ROW_HEIGHT * len(rows)
    parts = []
    for mark in marks:
        parts.append(line(x(mark), TITLE_HEIGHT, x(mark), bottom))
        parts.append(text(x(mark), bottom + 16, number(mark), anchor="middle"))
    for index, (name, value) in enumerate(rows):
        top = TITLE_HEIGHT + ROW_HEIGHT * index
        start, end = sorted((x(0), x(value)))
        parts.append(text(left - 8, top + 17, fitted(name, names - 8), "ink", "end"))
        parts.append(bar(start, top + 4, end - start, ROW_HEIGHT - 8, 0, f"{name}: {number(value)} {unit}"))
        parts.append(text(end + 6, top + 17, number(value), "ink"))
    parts.append(line(x(0), TITLE_HEIGHT, x(0), bottom, "axis"))
    parts.append(text((left + right) / 2, bottom + 34, unit, anchor="middle"))
    return drawing(parts, title=title, width=width, height=bottom + AXIS_HEIGHT)


def _nothing(title: str, width: int) -> str:
    return drawing([text(PAD, TITLE_HEIGHT + 14, "nothing to show")], title=title, width=width, height=76)


def _refuse_odd_values(values: Iterable[float]) -> None:
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"a chart cannot show {value}")
