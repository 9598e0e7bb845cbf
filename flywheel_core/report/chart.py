"""A whole chart: its drawing, and its figures as a table and in words for those who cannot see it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flywheel_core.report.svg import STYLE, TITLE_SIZE, clean, fitted, number, numbers_alike, text

NOTHING = "–"
"""Stands for a figure that is not known."""
TOLD_WIDTH = 1_200
"""Greatest width of a name in tooltips, tables and descriptions, in px; nobody reads more than a screen's width."""
DESCRIBED = 8
"""Most series of which a description tells the range."""


@dataclass(frozen=True)
class Figures:
    """What a chart shows.

    of: what a row stands for, such as "model"; names: of the rows; series: name -> as many values as `names`,
    None where there is none; unit: what all values measure, empty where each series has its own.
    """

    of: str
    names: Sequence[str]
    series: Mapping[str, Sequence[float | None]]
    unit: str = ""


@dataclass(frozen=True)
class Chart:
    """A drawing and its figures, ready to be shown.

    svg: the drawing, which has escaped its texts; unit: see `Figures`; columns, rows: the figures as texts,
    the row's name first; description: the range of each series; width: px.
    """

    title: str
    svg: str
    unit: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    description: str
    width: int


def chart(parts: Iterable[str], figures: Figures, *, title: str, width: int, height: float) -> Chart:
    """Return the chart of `parts`: frame, colours, title, and its figures in words."""
    names = [fitted(name, TOLD_WIDTH) for name in figures.names]
    shown = {of or figures.unit: _column(values) for of, values in figures.series.items()}
    description = _description(names, figures, shown)
    top = text(16, 25, fitted(title, width - 32, TITLE_SIZE), "title")
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" aria-label="{clean(title)}"'
        f' width="{width}" height="{height:.0f}" viewBox="0 0 {width} {height:.0f}">'
        f"<style>{STYLE}</style><title>{clean(title)}</title><desc>{clean(description)}</desc>"
        f'<rect class="surface" width="{width}" height="{height:.0f}" rx="8"/>{top}{"".join(parts)}</svg>'
    )
    return Chart(
        title,
        svg,
        "" if "" in figures.series else figures.unit,
        (figures.of, *shown),
        tuple(zip(names, *shown.values(), strict=True)),
        description,
        width,
    )


def _column(values: Sequence[float | None]) -> list[str]:
    """Return figures that stand below each other as texts."""
    known = iter(numbers_alike(value for value in values if value is not None))
    return [NOTHING if value is None else next(known) for value in values]


def _description(names: Sequence[str], figures: Figures, shown: Mapping[str, Sequence[str]]) -> str:
    """Return the range of each series in words, with the names at both ends."""
    told = []
    for column, values in zip(shown, figures.series.values(), strict=True):
        known = [(value, at) for at, value in enumerate(values) if value is not None]
        if not known:
            continue
        (low, first), (high, last) = min(known), max(known)
        ends = (
            f"{number(low)} ({names[first]}) to {number(high)} ({names[last]})"
            if low != high
            else f"{number(low)} throughout"
            if len(known) > 1
            else f"{number(low)} ({names[first]})"
        )
        told.append(f"{column}: {ends}")
    if not told:
        return "nothing to show"
    further = f"; and {len(told) - DESCRIBED} more series" if len(told) > DESCRIBED else ""
    unit = "" if "" in figures.series or not figures.unit else f", in {figures.unit}"
    return f"By {figures.of}{unit}. {'; '.join(told[:DESCRIBED])}{further}."
