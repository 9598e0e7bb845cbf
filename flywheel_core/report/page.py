"""What every page shares: one frame, one style, and one way of writing figures.

A page is one file that needs nothing else.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from flywheel_core.report.chart import NOTHING, Chart
from flywheel_core.report.svg import number, numbers_alike, printable

CHART_WIDTH = 460
WIDE_CHART = 940
MAX_NAME_CHARS = 200
YEAR = timedelta(days=365)


def render(template: str, charts: Mapping[str, Chart], **values: Any) -> str:
    """Render a template of this folder as HTML: light and dark, for screens of any width, without script.

    charts: shown with their figures as tables. All values are made printable and escaped, except drawings, which
    have escaped what they show.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "share": _share,
        "score": _score,
        "signed": _signed,
        "change": change,
        "brief": _brief,
        "drawing": lambda chart: Markup(chart.svg),  # noqa: S704  # charts escape their texts
    }
    return environment.get_template(template).render(charts=charts, **values)


def _printable(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _brief(name: str) -> str:
    """Return a name that came from outside, cut in the middle if it would fill the page by itself."""
    half = MAX_NAME_CHARS // 2
    return name if len(name) <= MAX_NAME_CHARS else f"{name[:half]}…{name[-half:]}"


def column(values: Mapping[str, float | None]) -> dict[str, str]:
    """Return name -> figure for a table's column, all with equally many decimals; unknown values are a dash."""
    known = {name: value for name, value in values.items() if value is not None}
    return dict.fromkeys(values, NOTHING) | dict(zip(known, numbers_alike(known.values()), strict=True))


def day_names(days: Sequence[date]) -> list[str]:
    """Return days in order as names below a chart, with the year where a date would occur twice without it."""
    form = "%Y-%m-%d" if days and days[-1] - days[0] >= YEAR else "%m-%d"
    return [day.strftime(form) for day in days]


def _number(value: float | None) -> str:
    return NOTHING if value is None else number(value)


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1%}"


def _score(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.3f}"


def change(share: float) -> str:
    """Return a relative change with its sign, such as -66.8%."""
    return f"{share + 0.0:+.1%}"  # adding 0.0 turns -0.0 into 0.0
