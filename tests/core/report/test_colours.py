"""The colours of charts: everyone can tell them from the background and from each other."""

import math
from itertools import combinations

import pytest

from flywheel_core.report.svg import (
    SERIES_DARK,
    SERIES_LIGHT,
    SURFACE_DARK,
    SURFACE_LIGHT,
)


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
