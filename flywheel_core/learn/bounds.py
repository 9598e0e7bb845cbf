"""A lower bound for one router's mean gain over another, valid at the small error levels of many looks.

Gains are discrete, mostly zero and often skewed: a router that nearly always wins a little and now and then
loses everything looks excellent until its first loss. Student's t promotes such a router hundreds of times
too often. Two things correct this. The sample is completed with two questions of the worst possible gain, so
that a loss not yet seen is accounted for. And t is corrected for skewness (P. Hall, "On the removal of
skewness by transformation", 1992). docs/promotion.md has the error rates found by simulation.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flywheel_core.learn.alike import parts

WORST_CASES = 2
"""Questions with the worst gain added to the sample.

One is too few at levels below 0.001, three cost power.
"""

LASTING_DAYS = 5
"""Questions that are alike and came on this many days are a lasting part of the traffic."""


def lower_bound(
    gains: ArrayLike, level: float, worst: float | None = None, alike: NDArray[np.intp] | None = None
) -> float:
    """Return a value that the true mean of `gains` exceeds, except with probability `level`.

    gains: shape (n,), n >= 2, finite, independent of each other unless in one bunch; level: 0 < level < 1;
    worst: the worst possible gain, by default minus the larger of 1 and the largest gain or loss seen;
    alike: (n, 2), a number that is equal for questions that are alike, and the day on which each came; those of one
    day may gain or lose together. None if all are independent. Raises ValueError for other input.
    """
    seen: NDArray[Any] = np.asarray(gains, dtype=float)
    if seen.ndim != 1 or len(seen) < 2 or not np.isfinite(seen).all():
        raise ValueError("gains must be two or more finite numbers in one dimension")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, not {level}")
    if worst is None:
        worst = -max(1.0, float(np.abs(seen).max()))
    sample = np.concatenate([seen, np.full(WORST_CASES, worst)])
    count, mean, deviation = len(sample), float(sample.mean()), float(sample.std(ddof=1))
    if deviation == 0:
        return mean
    # imported only here: Dagster's daemon loads this module every minute, and hardly ever needs it
    from scipy.special import stdtrit

    skewness = float(((sample - mean) ** 3).mean()) / deviation**3
    excess, freedom = _together(seen, alike)
    root = math.sqrt(count / excess)
    quantile = -float(stdtrit(count - 1 if excess == 1 else freedom, level))
    return mean - _unskewed(quantile, skewness / root) * deviation / root


def _together(gains: NDArray[Any], alike: NDArray[np.intp] | None) -> tuple[float, int]:
    """Return the factor by which bunches raise the variance of the mean gain, >= 1, and its degrees of freedom.

    The variance is that of the sums of bunches (K.-Y. Liang and S. Zeger, "Longitudinal data analysis using
    generalized linear models", 1986), for questions that come on many days around their own mean: what is gained on
    them day after day is no chance. The variance is not lowered: that would be chance too.
    """
    off, count = gains - gains.mean(), len(gains)
    if alike is None or not off.any():
        return 1.0, count - 1
    # the questions of a bunch on one day, in one or several parts, may gain or lose together: a part counts as one
    _, of_day = np.unique(alike[:, 0] * 2**20 + alike[:, 1], return_inverse=True)
    part = parts(of_day)
    _, first, owners = np.unique(of_day * count + part, return_index=True, return_inverse=True)
    sums, sizes = np.bincount(owners, off), np.bincount(owners)
    _, bunch = np.unique(alike[first, 0], return_inverse=True)
    days, its_parts = np.bincount(bunch, part[first] == 0), np.bincount(bunch)
    lasting = days >= LASTING_DAYS
    mean = np.where(lasting, np.bincount(bunch, sums) / np.bincount(bunch, sizes), 0.0)
    # parts vary less around their own mean than around the true one
    wider = np.where(lasting, its_parts / np.maximum(its_parts - 1, 1), 1.0)
    around_mean = wider[bunch] * (sums - sizes * mean[bunch]) ** 2
    of_mean = sizes * mean[bunch] ** 2  # as independent questions have it
    total = float((around_mean + of_mean).sum() / (off @ off))
    freedom = len(sums) - 1
    return max(1.0, round(total * (freedom + 1) / freedom * (count - 1) / count, 9)), freedom


def _unskewed(quantile: float, slant: float) -> float:
    """Return the studentised mean that Hall's transformation takes to `quantile`.

    slant: skewness divided by the root of the count. The transformation is t + slant t²/3 + slant² t³/27 +
    slant/6, that is ((1 + slant t/3)³ - 1) / slant + slant/6.
    """
    if abs(slant) < 1e-9:
        return quantile
    return 3.0 * (float(np.cbrt(1.0 + slant * (quantile - slant / 6.0))) - 1.0) / slant


def look_level(error_level: float, look: int) -> float:
    """Return the error level of the `look`-th look, look >= 1.

    However many looks there are, their levels add up to less than `error_level`. Raises ValueError when
    `look` is below 1.
    """
    if look < 1:
        raise ValueError(f"looks count from 1, not {look}")
    return error_level * 6.0 / (math.pi * look) ** 2
