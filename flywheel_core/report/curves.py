"""Curves over a measured axis, such as score over cost, or what came true over confidence."""

from collections.abc import Mapping, Sequence

from flywheel_core.report.chart import Chart, Figures, chart
from flywheel_core.report.plane import AXIS_HEIGHT, PAD, TITLE_HEIGHT, nothing
from flywheel_core.report.svg import (
    FONT_SIZE,
    dot,
    fitted,
    legend,
    line,
    number,
    path,
    shown_marks,
    text,
    text_width,
    ticks,
)

PLANE_HEIGHT = 260
DOT = 4
"""Half the width that is reserved for the dot of a point, in px."""
NAME_WIDTH = 150
"""Greatest width of a name beside a point, in px."""

Point = tuple[float, float]
Box = tuple[float, float, float, float]


def curve_chart(
    curves: Mapping[str, Sequence[Point]],
    *,
    title: str,
    x_unit: str,
    y_unit: str,
    named: Mapping[str, Point] | None = None,
    width: int = 640,
) -> Chart:
    """Draw lines through points (x, y), a dot on each; an axis begins at zero only if its values do.

    x_unit, y_unit: what the axes measure; named: single points with their names beside them, in the colour
    after the curves' own. A name that would overlap another or a point is only in the tooltip and in the figures.
    """
    named = named or {}
    points = [point for curve in curves.values() for point in curve] + list(named.values())
    if not points:
        return nothing(title, width)
    parts: list[str] = []
    top: float = TITLE_HEIGHT + 10
    if len(curves) > 1:
        parts, top = legend(curves, PAD, TITLE_HEIGHT + 8, width - 2 * PAD, curves)
    parts.append(text(PAD, top + 4, y_unit))
    plane = _Plane(points, top + 18, width, 0.1 if named else 0.0)
    parts += plane.axes(x_unit)
    for index, (of, curve) in enumerate(curves.items()):
        parts.append(path([plane.at(point) for point in curve], index))
        for point in curve:
            said = f"{of}: " if of else ""
            parts.append(dot(*plane.at(point), index, said + _pair(point, x_unit, y_unit)))
    taken = [plane.around(point) for point in points]
    # From top to bottom, so that names keep the order of their points.
    for name, point in sorted(named.items(), key=lambda item: -item[1][1]):
        parts.append(dot(*plane.at(point), len(curves), f"{name}: {_pair(point, x_unit, y_unit)}"))
        parts += plane.name(name, point, taken)
    told = [(of or title, point) for of, curve in curves.items() for point in curve] + list(named.items())
    series = {x_unit: [x for _, (x, _) in told], y_unit: [y for _, (_, y) in told]}
    figures = Figures("curve or point", [name for name, _ in told], series)
    return chart(parts, figures, title=title, width=width, height=plane.bottom + AXIS_HEIGHT)


class _Plane:
    """Maps values to positions on the page."""

    def __init__(self, points: Sequence[Point], top: float, width: int, room: float) -> None:
        """Set up both scales. room: share of the values' height kept free below the points, for names."""
        xs, ys = [x for x, _ in points], [y for _, y in points]
        low = min(ys) - room * (max(ys) - min(ys))
        self.x_marks, self.y_marks = ticks(min(xs), max(xs), 5), ticks(low, max(ys), 5)
        self.top, self.bottom = top, top + PLANE_HEIGHT
        self.left = PAD + max(text_width(number(mark)) for mark in self.y_marks) + 8
        self.right = width - PAD - text_width(number(self.x_marks[-1])) / 2

    def at(self, point: Point) -> Point:
        """Return the position of a point, in px from the left and from the top."""
        across = (point[0] - self.x_marks[0]) / (self.x_marks[-1] - self.x_marks[0])
        up = (point[1] - self.y_marks[0]) / (self.y_marks[-1] - self.y_marks[0])
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)

    def around(self, point: Point) -> Box:
        """Return the box that the dot of a point takes up."""
        x, y = self.at(point)
        return x - DOT, y - DOT, x + DOT, y + DOT

    def axes(self, unit: str) -> list[str]:
        """Draw both scales with their grid lines, and the unit of the horizontal one."""
        parts = []
        for mark in self.y_marks:
            y = self.at((self.x_marks[0], mark))[1]
            parts.append(line(self.left, y, self.right, y, "axis" if mark == self.y_marks[0] else "grid"))
            parts.append(text(self.left - 8, y + 4, number(mark), anchor="end"))
        for mark in self.x_marks:
            x = self.at((mark, self.y_marks[0]))[0]
            parts.append(line(x, self.top, x, self.bottom, "axis" if mark == self.x_marks[0] else "grid"))
        for mark in shown_marks(self.x_marks, (self.right - self.left) / (len(self.x_marks) - 1)):
            x = self.at((mark, self.y_marks[0]))[0]
            parts.append(text(x, self.bottom + 16, number(mark), anchor="middle"))
        parts.append(text((self.left + self.right) / 2, self.bottom + 34, unit, anchor="middle"))
        return parts

    def name(self, name: str, point: Point, taken: list[Box]) -> list[str]:
        """Draw a name beside its point, where it overlaps none of `taken`; nothing if there is no such place.

        Adds the box of the name to `taken`.
        """
        x, y = self.at(point)
        shown = fitted(name, NAME_WIDTH)
        across = text_width(shown)
        for down in (*range(4, 44), -9, -22):
            for left in (x + 7, x - 7 - across):
                box = (left, y + down - FONT_SIZE + 1, left + across, y + down + 2)
                inside = left >= self.left and box[2] <= self.right + PAD and box[3] <= self.bottom + 3
                if inside and not any(_overlap(box, other) for other in taken):
                    taken.append(box)
                    anchor = "start" if left > x else "end"
                    return [text(x + 7 if left > x else x - 7, y + down, shown, "ink", anchor)]
        return []


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _pair(point: Point, x_unit: str, y_unit: str) -> str:
    return f"{number(point[1])} {y_unit}, at {number(point[0])} {x_unit}"
