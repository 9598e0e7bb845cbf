"""Means with 95 % intervals, from bootstraps that draw whole groups of similar questions.

All figures on the same questions use the same draws.
"""

import numpy as np
from numpy.typing import NDArray

from flywheel_core.learn.doubles import Doubles

RESAMPLES = 1_000


def resamples(groups: NDArray[np.str_], seed: int, count: int = RESAMPLES) -> NDArray[np.float64]:
    """Return how often each question is drawn in each bootstrap resample, (count, n).

    Whole groups are drawn, at random by `seed`.
    """
    names, owner = np.unique(groups, return_inverse=True)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
    result: NDArray[np.float64] = drawn[:, owner].astype(np.float64)
    return result


def means_in(values: Doubles, draws: NDArray[np.float64]) -> Doubles:
    """Return the mean of `values` in each resample."""
    result: Doubles = draws @ values / draws.sum(axis=1)
    return result


def interval(values: Doubles, draws: NDArray[np.float64]) -> list[float]:
    """Return the mean and its 95 % bounds."""
    return bounded(float(values.mean()), means_in(values, draws))


def bounded(value: float, drawn: Doubles) -> list[float]:
    """Return a figure and its 95 % bounds, taken from its values in the resamples.

    Without resamples, both bounds are the figure itself.
    """
    if not len(drawn):
        return [float(value)] * 3
    return [float(value), *np.quantile(drawn, [0.025, 0.975]).tolist()]


def saved(paid: Doubles, alone: Doubles, draws: NDArray[np.float64]) -> list[float] | None:
    """Return the share saved against another way of choosing, with 95 % bounds; below 0 where more is paid.

    paid, alone: (n,), what each question costs this way and the other way. None where the other way costs
    nothing.
    """
    if not alone.mean() > 0:
        return None
    base = means_in(alone, draws)
    shares = 1 - means_in(paid, draws)[base > 0] / base[base > 0]
    return bounded(float(1 - paid.mean() / alone.mean()), shares)
