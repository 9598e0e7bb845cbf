"""Charts as SVG text: bars, stacked columns, lines, histograms; each shows its unit, and figures on hover.

Every chart is self-contained; `flywheel_core/report/svg.py` has the building blocks. Values must be finite: a
chart raises ValueError for what it cannot show.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from flywheel_core.report.chart import TOLD_WIDTH, Chart, Figures, chart
from flywheel_core.report.plane import AXIS_HEIGHT, PAD, ROW_HEIGHT, TITLE_HEIGHT, Plane, nothing
from flywheel_core.report.svg import (
    bar,
    dot,
    fitted,
    legend,
    line,
    number,
    numbers_alike,
    path,
    shown_marks,
    text,
    text_width,
    ticks,
)

GAP = 1
"""Pixels of background between parts of a column, whose colours alone may be too alike."""
THIN = 3
"""Pixels up to which a part has no gap: little would be left of it."""
CROWDED = 8
"""Pixels between neighbouring names below which dots of the usual size would hide their line."""


def bar_chart(
    rows: Sequence[tuple[str, float]], *, of: str, title: str, unit: str, width: int = 640
) -> Chart:
    """Draw horizontal bars, one per row in the order given, each with its figure.

    rows: (name, value); of: what a row stands for, such as "label"; unit: what the values count, such as
    "examples" or "ms"; width: px.
    """
    return grouped_bar_chart(
        [name for name, _ in rows],
        {"": [value for _, value in rows]},
        of=of,
        title=title,
        unit=unit,
        width=width,
    )


def grouped_bar_chart(
    names: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    of: str,
    title: str,
    unit: str,
    width: int = 640,
) -> Chart:
    """Draw horizontal bars, for each name one bar per series, and none where a value is None.

    series: name -> as many values as `names`.
    """
    values = _checked(names, series)
    if not values:
        return nothing(title, width)
    top: float = TITLE_HEIGHT
    parts: list[str] = []
    if len(series) > 1:
        parts, top = legend(series, PAD, TITLE_HEIGHT + 8, width - 2 * PAD)
    thickness = ROW_HEIGHT - 8 if len(series) == 1 else 13
    row_height = thickness * len(series) + 8
    label_width = min(max(map(text_width, names)), width * 0.38) + 8
    left = PAD + label_width
    figures = numbers_alike(values)
    right = width - PAD - max(map(text_width, figures)) - 10
    rest = iter(figures)
    shown = [[None if value is None else next(rest) for value in numbers] for numbers in series.values()]
    marks = ticks(min(0.0, *values), max(0.0, *values), 4)
    scale = (right - left) / (marks[-1] - marks[0])

    def x(value: float) -> float:
        return left + (value - marks[0]) * scale

    bottom = top + row_height * len(names)
    for mark in marks:
        parts.append(line(x(mark), top, x(mark), bottom))
    for mark in shown_marks(marks, x(marks[1]) - x(marks[0])):
        parts.append(text(x(mark), bottom + 16, number(mark), anchor="middle"))
    for row, name in enumerate(names):
        middle = top + row_height * (row + 0.5) + 4
        parts.append(text(left - 8, middle, fitted(name, label_width - 8), "ink", "end"))
        for index, (part, numbers) in enumerate(series.items()):
            value, figure = numbers[row], shown[index][row]
            if value is None or figure is None:
                continue
            y = top + row_height * row + 4 + thickness * index
            start, end = sorted((x(0), x(value)))
            tip = f"{fitted(name, TOLD_WIDTH)}{f', {part}' if part else ''}: {figure} {unit}"
            parts.append(bar(start, y, end - start, thickness - (len(series) > 1), index, tip))
            parts.append(text(end + 6, y + thickness / 2 + 4, figure, "ink"))
    parts.append(line(x(0), top, x(0), bottom, "axis"))
    parts.append(text((left + right) / 2, bottom + 34, unit, anchor="middle"))
    return chart(
        parts, Figures(of, names, series, unit), title=title, width=width, height=bottom + AXIS_HEIGHT
    )


def stacked_chart(
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    of: str,
    title: str,
    unit: str,
    width: int = 640,
) -> Chart:
    """Draw one column per name, such as a day, made of one part per series.

    Raises ValueError for a value below 0.
    """
    values = _checked(names, series)
    if any(value < 0 for value in values):
        raise ValueError("parts of a column are at least 0")
    totals = [sum(numbers[at] for numbers in series.values()) for at in range(len(names))]
    if not values or max(totals) == 0:
        return nothing(title, width)
    plane = Plane(names, 0.0, max(totals), series, unit, width)
    for at, name in enumerate(names):
        base = 0.0
        for index, (part, numbers) in enumerate(series.items()):
            value = numbers[at]
            if value > 0:
                share = value / totals[at]
                upper, lower = plane.y(base + value), plane.y(base)
                if base > 0 and lower - upper > THIN:
                    lower -= GAP
                tip = f"{name}, {part}: {number(value)} {unit} ({share:.0%})"
                plane.parts.append(
                    bar(plane.x(at) - plane.bar / 2, upper, plane.bar, lower - upper, index, tip)
                )
            base += value
    return plane.drawn(title, Figures(of, names, series, unit))


def histogram(
    edges: Sequence[float], counts: Sequence[float], *, of: str, title: str, unit: str, width: int = 640
) -> Chart:
    """Draw the counts between neighbouring edges.

    edges: one more than counts; unit: what is counted; of: what the edges measure, such as "score".
    """
    if len(edges) != len(counts) + 1:
        raise ValueError(f"{len(counts)} counts need {len(counts) + 1} edges, not {len(edges)}")
    names = [number(edge) for edge in edges[:-1]]
    spans = [f"{number(low)} to {number(high)}" for low, high in pairwise(edges)]
    _checked(names, {"": counts})
    if not counts or max(counts) == 0:
        return nothing(title, width)
    plane = Plane(names, 0.0, max(counts), {}, f"{unit}, by {of}", width, edges=True)
    plane.parts.append(
        text(plane.x(len(counts)) - plane.step / 2, plane.bottom + 16, number(edges[-1]), anchor="middle")
    )
    for at, count in enumerate(counts):
        tip = f"{of} {spans[at]}: {number(count)} {unit}"
        top = plane.y(count)
        plane.parts.append(
            bar(plane.x(at) - plane.step / 2 + 1, top, plane.step - 2, plane.bottom - top, 0, tip)
        )
    return plane.drawn(title, Figures(of, spans, {"": counts}, unit))


def line_chart(
    names: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    of: str,
    title: str,
    unit: str,
    width: int = 640,
    events: Collection[str] = (),
) -> Chart:
    """Draw one line per series over names in order, such as days, with a gap where a value is None.

    events: the series whose values are single events: large dots without a line.
    """
    values = _checked(names, series)
    if not values:
        return nothing(title, width)
    keys = series if len(series) > 1 else {}
    lines = series.keys() - set(events)
    plane = Plane(names, min(0.0, *values), max(0.0, *values), keys, unit, width, lines=lines)
    for index, (part, numbers) in enumerate(series.items()):
        for run in _runs(numbers):
            radius = 1 if plane.step < CROWDED and len(run) > 1 else 3
            if part in events:
                radius = 5
            else:
                plane.parts.append(path([(plane.x(at), plane.y(value)) for at, value in run], index))
            for at, value in run:
                tip = f"{names[at]}{f', {part}' if part else ''}: {number(value)} {unit}"
                plane.parts.append(dot(plane.x(at), plane.y(value), index, tip, radius))
    return plane.drawn(title, Figures(of, names, series, unit))


def _checked(names: Sequence[str], series: Mapping[str, Sequence[float | None]]) -> list[float]:
    """Return all values that are not None.

    Raises ValueError for one that is not finite, and for a series whose length is not that of `names`.
    """
    found: list[float] = []
    for of, numbers in series.items():
        if len(numbers) != len(names):
            raise ValueError(f"series {of!r} has {len(numbers)} values for {len(names)} names")
        found += [value for value in numbers if value is not None]
    odd = [value for value in found if not math.isfinite(value)]
    if odd:
        raise ValueError(f"a chart cannot show {odd[0]}")
    return found


def _runs(numbers: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Return the stretches without a gap, as (index, value)."""
    runs: list[list[tuple[int, float]]] = [[]]
    for at, value in enumerate(numbers):
        if value is not None:
            runs[-1].append((at, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
