"""The colours of charts: everyone can tell them from the background and from each other."""

import math
import re
from itertools import combinations
from pathlib import Path

import pytest

from flywheel_core.report import svg
from flywheel_core.report.svg import (
    DASHES,
    FILLS,
    SERIES_DARK,
    SERIES_LIGHT,
    STYLE,
    SURFACE_DARK,
    SURFACE_LIGHT,
    bar,
    path,
)

BARS = len(SERIES_LIGHT) * len(FILLS)
LINES = len(SERIES_LIGHT) * len(DASHES)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("series", "surface"), [(SERIES_LIGHT, SURFACE_LIGHT), (SERIES_DARK, SURFACE_DARK)])
def test_every_colour_stands_out_from_the_background(series: tuple[str, ...], surface: str) -> None:
    assert min(contrast(colour, surface) for colour in series) >= 3


Colour = tuple[float, float, float]


SIGHT: dict[str, tuple[Colour, Colour, Colour]] = {
    "full": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "without green cones": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "without red cones": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
}
"""Kinds of colour vision: the matrices of Machado, Oliveira and Fernandes (2009) at severity 1."""


def perceived(colour: str, sight: str) -> Colour:
    """Return a colour, as one kind of sight sees it, in OKLab, where distance is perceived difference."""
    rgb = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    seen = [min(1.0, max(0.0, sum(map(math.prod, zip(row, rgb, strict=True))))) for row in SIGHT[sight]]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in seen]
    long = math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue)
    middle = math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue)
    short = math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("series", [SERIES_LIGHT, SERIES_DARK])
def test_any_two_colours_differ_for_everyone(series: tuple[str, ...], sight: str) -> None:
    for first, second in combinations(series, 2):
        assert math.dist(perceived(first, sight), perceived(second, sight)) > 0.08, (first, second)


def marks(drawn: list[str]) -> set[str]:
    """Return the classes that decide how shapes look; none of these has a colour of its own."""
    assert all("style=" not in shape and "fill=" not in shape and "opacity" not in shape for shape in drawn)
    return {match.group(1) for shape in drawn if (match := re.search(r'class="([^"]*)"', shape))}


def test_every_series_has_a_mark_of_its_own_in_a_full_colour() -> None:
    """A fainter colour is no mark: at 55 % some have a contrast below 2:1, and a paler blue may be another series."""
    assert len(marks([bar(0, 0, 30, 30, index, "tip") for index in range(BARS)])) == BARS
    assert len(marks([path([(0, 0), (9, 9)], index) for index in range(LINES)])) == LINES
    assert "opacity" not in STYLE


def test_lines_that_cross_differ_without_their_colours() -> None:
    drawn = [path([(0, 0), (9, 9)], index) for index in range(len(SERIES_LIGHT))]
    assert len({mark.split()[-1] for mark in marks(drawn)}) == len(SERIES_LIGHT)
    assert len(set(DASHES)) == len(DASHES)


@pytest.mark.parametrize(("width", "height"), [(30, 4), (4, 30), (0.5, 0.5), (0, 9)])
def test_a_bar_without_room_for_an_outline_is_filled(width: float, height: float) -> None:
    drawn = bar(0, 0, width, height, len(SERIES_LIGHT), "tip")
    assert marks([drawn]) == {"s0"}
    assert f'width="{width:.1f}" height="{height:.1f}"' in drawn


def test_an_outlined_bar_takes_no_more_room_than_a_filled_one() -> None:
    assert 'x="11.0" y="21.0" width="28.0" height="8.0"' in bar(10, 20, 30, 10, len(SERIES_LIGHT), "tip")


@pytest.mark.parametrize("colours", [svg._LIGHT, svg._DARK])
def test_texts_of_charts_can_be_read(colours: dict[str, str]) -> None:
    assert min(contrast(colours[text], colours["surface"]) for text in ("ink", "soft")) >= 4.5


def test_texts_of_pages_can_be_read_also_on_the_darkest_cell() -> None:
    style = (Path(svg.__file__).parent / "base.html").read_text("utf-8")
    themes = [
        dict(re.findall(r"--(\w+): (#\w{6});", rules)) for rules in re.findall(r":root \{(.*)\}", style)
    ]
    assert len(themes) == 2
    for theme in themes:
        backgrounds = [theme["page"], theme["surface"]]
        assert min(contrast(theme[text], back) for text in ("ink", "soft") for back in backgrounds) >= 4.5
        assert contrast(theme["ink"], _mixed(theme["mark"], theme["surface"], 0.6)) >= 4.5
        assert contrast(theme["mark"], theme["track"]) >= 3


def _mixed(colour: str, other: str, share: float) -> str:
    parts = [
        round(share * int(colour[at : at + 2], 16) + (1 - share) * int(other[at : at + 2], 16))
        for at in (1, 3, 5)
    ]
    return "#" + "".join(f"{part:02x}" for part in parts)
