"""The plane of a chart: names along the bottom, a scale on the left, and the measures that all charts share."""

import math
from collections.abc import Collection, Iterable, Sequence

from flywheel_core.report.chart import Chart, Figures, chart
from flywheel_core.report.svg import legend, line, number, text, text_width, ticks

PAD = 16
TITLE_HEIGHT = 40
AXIS_HEIGHT = 44
ROW_HEIGHT = 26
PLANE_HEIGHT = 180


class Plane:
    """The frame of a chart with names along the bottom and a scale on the left."""

    def __init__(
        self,
        names: Sequence[str],
        low: float,
        high: float,
        series: Iterable[str],
        unit: str,
        width: int,
        *,
        edges: bool = False,
        lines: Collection[str] = (),
    ) -> None:
        self.parts: list[str] = []
        self.width = width
        keys = list(series)
        top: float = TITLE_HEIGHT + 10
        if keys:
            self.parts, top = legend(keys, PAD, TITLE_HEIGHT + 8, width - 2 * PAD, lines)
        self.parts.append(text(PAD, top + 4, unit))
        top += 18
        self.bottom = top + PLANE_HEIGHT
        marks = ticks(low, high, 4)
        self._low, self._scale = marks[0], PLANE_HEIGHT / (marks[-1] - marks[0])
        self.left = PAD + max(text_width(number(mark)) for mark in marks) + 8
        right = width - PAD
        self.step = (right - self.left) / len(names)
        self.bar = min(self.step * 0.78, 44)
        for mark in marks:
            kind = "axis" if mark == 0 else "grid"
            self.parts.append(line(self.left, self.y(mark), right, self.y(mark), kind))
            self.parts.append(text(self.left - 8, self.y(mark) + 4, number(mark), anchor="end"))
        widest = max(map(text_width, names)) + 10
        every = max(1, math.ceil(widest / self.step))
        for at in range(0, len(names), every):
            x = self.x(at) - (self.step / 2 if edges else 0)
            self.parts.append(text(x, self.bottom + 16, names[at], anchor="middle"))

    def x(self, at: int) -> float:
        """Return the x position of the middle of the `at`-th name, in px."""
        return self.left + self.step * (at + 0.5)

    def y(self, value: float) -> float:
        """Return the y position of a value, in px from the top."""
        return self.bottom - (value - self._low) * self._scale

    def drawn(self, title: str, figures: Figures) -> Chart:
        """Return the whole chart."""
        return chart(self.parts, figures, title=title, width=self.width, height=self.bottom + 28)


def nothing(title: str, width: int) -> Chart:
    """Draw a chart without values: its title, and that there is nothing to show."""
    parts = [text(PAD, TITLE_HEIGHT + 14, "nothing to show")]
    return chart(parts, Figures("", (), {}), title=title, width=width, height=76)
