"""The building blocks of every chart: the palette, text that fits, round tick marks, and shapes.

A drawing is self-contained: it carries its own colours for light and dark, its own background, and no script.
It can be embedded in a page as it is, or in an image URL.
"""

import math
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from html import escape

SERIES_LIGHT: tuple[str, ...] = ("#2b7bc4", "#d97900", "#26235e", "#45989c", "#a63d52", "#4a3b12")
SERIES_DARK: tuple[str, ...] = ("#4f9be0", "#f0a23c", "#d9d2ff", "#5fb8b4", "#d4418e", "#f4eb9c")
"""Colours of the series, in order; any two can be told apart by people who do not see red or green."""

FILLS = ("", " outline", " outline dashed")
"""How bars of the first colours are drawn, then those of the next: filled, outlined, outlined with dashes."""
DASHES = ("none", "9 4", "2 3", "9 3 2 3", "5 3", "9 3 2 3 2 3")
"""Dashes of the lines of the series, so that lines that cross are told apart without their colours."""
EDGE = 2
"""Width of an outline, in px."""

SURFACE_LIGHT = "#ffffff"
SURFACE_DARK = "#161b22"

DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that change the direction of the text after them, which may be another name's."""

LINE_KEY = 26
"""Width of the key of a line, in px: its dashes once."""

FONT_SIZE = 12
TITLE_SIZE = 14

_LIGHT = {"ink": "#1c2733", "soft": "#55616e", "line": "#dde3ea", "surface": SURFACE_LIGHT}
_DARK = {"ink": "#e8edf3", "soft": "#a3afbc", "line": "#313a45", "surface": SURFACE_DARK}


def series_class(index: int) -> str:
    """Return the CSS class of the colour of the `index`-th series; after the last one the colours repeat."""
    return f"s{index % len(SERIES_LIGHT)}"


def printable(text: str) -> str:
    """Return `text` without what a page cannot show as it is.

    Characters that XML cannot hold, unassigned ones, and those that change the direction of all text after
    them are replaced.
    """
    return "".join("\ufffd" if _is_command(mark) else mark for mark in text)


def _is_command(mark: str) -> bool:
    if unicodedata.category(mark) in ("Cc", "Cs", "Cn"):
        return mark not in "\t\n\r"
    return mark in DIRECTIONS


def clean(text: str) -> str:
    """Return `text` for SVG and HTML: printable and escaped."""
    return escape(printable(text), quote=True)


def text_width(text: str, size: float = FONT_SIZE) -> float:
    """Estimate how wide `text` is drawn, in px. Chinese characters are as wide as they are high."""
    return size * sum(1.0 if unicodedata.east_asian_width(mark) in "WF" else 0.6 for mark in text)


def fitted(text: str, width: float, size: float = FONT_SIZE) -> str:
    """Return `text` on one line, cut in the middle where it is wider than `width` px.

    The ends are kept, because names of models differ there.
    """
    line = " ".join(text.split())
    if text_width(line, size) <= width:
        return line
    # Each step below measures the whole line, and a name may have a million letters: first drop what cannot fit.
    most = max(1, int(width / (0.6 * size)) + 1)
    head, tail = line[: len(line) // 2][:most], line[len(line) // 2 :][-most:]
    while (head or tail) and text_width(f"{head}…{tail}", size) > width:
        head, tail = (head, tail[1:]) if len(tail) > len(head) else (head[:-1], tail)
    return f"{head.rstrip()}…{tail.lstrip()}"


def shown_marks(marks: Sequence[float], step: float) -> Sequence[float]:
    """Thin out evenly spaced figures, `step` px apart, so that their texts do not touch."""
    widest = max(text_width(number(mark)) for mark in marks) + 10
    return marks[:: max(1, math.ceil(widest / step))]


def number(value: float) -> str:
    """Return a figure for people.

    Thousands are separated; from 1 on there are at most two decimals, below 1 at most three, and below 0.001
    two significant digits.
    """
    if value == 0:
        return "0"
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 1:
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    if abs(value) >= 0.001:
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return f"{value:.2g}"


def numbers_alike(values: Iterable[float]) -> list[str]:
    """Return figures that stand below each other, each like `number` but with equally many decimals.

    Those of 1,000 and more, and those with an exponent, stay as they are; the others have as many decimals as
    the one with most.
    """
    shown = [(value, number(value)) for value in values]
    decimals = max((len(text.partition(".")[2]) for _, text in shown if "e" not in text), default=0)
    return [text if "e" in text or abs(value) >= 1000 else f"{value:.{decimals}f}" for value, text in shown]


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round numbers from at or below `low` to at or above `high`, in about `wanted` steps."""
    if high - low <= 1e-9 * max(1.0, abs(low)):
        high = low + max(1.0, abs(low) * 1e-3)
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def text(x: float, y: float, content: str, kind: str = "soft", anchor: str = "start") -> str:
    """Return one line of text. x, y: its anchor on the baseline; kind: ink, soft or title."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{clean(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> str:
    """Return a straight line. kind: grid or axis."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def bar(x: float, y: float, width: float, height: float, index: int, tip: str) -> str:
    """Return a bar in the colour of series `index`; `tip` shows on hover.

    Where the colours repeat, bars are outlined, except those that are too small to have an outline.
    """
    fill = FILLS[index // len(SERIES_LIGHT) % len(FILLS)]
    if fill and min(width, height) > 2 * EDGE:
        x, y, width, height = x + EDGE / 2, y + EDGE / 2, width - EDGE, height - EDGE
    else:
        fill = ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" rx="2"'
        f' class="{series_class(index)}{fill}"><title>{clean(tip)}</title></rect>'
    )


def path(points: Iterable[tuple[float, float]], index: int) -> str:
    """Return a line through points in the colour and with the dashes of series `index`."""
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = (index + index // len(SERIES_LIGHT)) % len(DASHES)
    return f'<polyline points="{steps}" class="path {series_class(index)} d{dashes}"/>'


def dot(x: float, y: float, index: int, tip: str, radius: int = 3) -> str:
    """Return a point of a line; `tip` shows on hover. radius: px."""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" class="{series_class(index)}">'
        f"<title>{clean(tip)}</title></circle>"
    )


def legend(
    names: Iterable[str], left: float, top: float, width: float, lines: Collection[str] = ()
) -> tuple[list[str], float]:
    """Return the keys of the series, in rows no wider than `width`, and the y below them.

    lines: the series drawn as lines, whose keys are lines too.
    """
    parts: list[str] = []
    x, y = left, top
    for index, name in enumerate(names):
        key = LINE_KEY if name in lines else 10
        shown = fitted(name, width - key - 14)
        needed = key + 8 + text_width(shown) + 14
        if x > left and x + needed > left + width:
            x, y = left, y + 18
        if name in lines:
            parts.append(path([(x, y - 4), (x + key, y - 4)], index))
        else:
            parts.append(bar(x, y - 9, key, 10, index, name))
        parts.append(text(x + key + 5, y, shown))
        x += needed
    return parts, y + 16


def _rules(colours: dict[str, str], series: tuple[str, ...]) -> str:
    variables = [f"--chart-{name}:{value}" for name, value in colours.items()]
    variables += [f"--chart-s{index}:{value}" for index, value in enumerate(series)]
    return f".chart{{{';'.join(variables)}}}"


def _style() -> str:
    fills = "".join(
        f".chart .s{index}{{fill:var(--chart-s{index});stroke:var(--chart-s{index})}}"
        for index in range(len(SERIES_LIGHT))
    )
    dashes = "".join(f".chart .d{index}{{stroke-dasharray:{dash}}}" for index, dash in enumerate(DASHES))
    return (
        _rules(_LIGHT, SERIES_LIGHT)
        + f"@media (prefers-color-scheme:dark){{{_rules(_DARK, SERIES_DARK)}}}"
        + f".chart text{{font:{FONT_SIZE}px system-ui,-apple-system,'Segoe UI','Noto Sans CJK SC','Noto Sans',sans-serif}}"
        + ".chart .ink{fill:var(--chart-ink)}.chart .soft{fill:var(--chart-soft)}"
        + f".chart .title{{fill:var(--chart-ink);font-size:{TITLE_SIZE}px;font-weight:600}}"
        + ".chart .surface{fill:var(--chart-surface)}"
        + ".chart .grid{stroke:var(--chart-line)}.chart .axis{stroke:var(--chart-soft)}"
        + fills
        + ".chart rect,.chart circle{stroke-width:0}"
        + f".chart .outline{{fill:var(--chart-surface);stroke-width:{EDGE}}}.chart .dashed{{stroke-dasharray:3 2}}"
        + ".chart .path{fill:none;stroke-width:2;stroke-linejoin:round}"
        + dashes
    )


STYLE = _style()
"""The colours, dashes and fonts of every chart, as CSS."""
