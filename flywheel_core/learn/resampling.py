"""Means with 95 % intervals: bootstraps in which groups of alike questions are drawn, the same draws for every figure."""

import numpy as np
from numpy.typing import NDArray

from flywheel_core.learn.targets import Doubles

RESAMPLES = 1_000


def resamples(groups: NDArray[np.str_], seed: int, count: int = RESAMPLES) -> NDArray[np.float64]:
    """How often each question is drawn in each bootstrap resample, (count, n): whole groups are drawn."""
    names, owner = np.unique(groups, return_inverse=True)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
    result: NDArray[np.float64] = drawn[:, owner].astype(np.float64)
    return result


def means_in(values: Doubles, draws: NDArray[np.float64]) -> Doubles:
    """Mean of `values` in each resample."""
    result: Doubles = draws @ values / draws.sum(axis=1)
    return result


def interval(values: Doubles, draws: NDArray[np.float64]) -> list[float]:
    """Mean, and its 95 % bounds."""
    return bounded(float(values.mean()), means_in(values, draws))


def bounded(value: float, drawn: Doubles) -> list[float]:
    """A figure, and its 95 % bounds by what it was in the resamples; without any the figure itself."""
    if not len(drawn):
        return [float(value)] * 3
    return [float(value), *np.quantile(drawn, [0.025, 0.975]).tolist()]


def saved(paid: Doubles, alone: Doubles, draws: NDArray[np.float64]) -> list[float] | None:
    """How much less is paid than another way would cost, as a share of that, with 95 % bounds; below 0 where it is more.

    paid, alone: (n,), what each question costs either way. None where the other way costs nothing.
    """
    if not alone.mean() > 0:
        return None
    base = means_in(alone, draws)
    shares = 1 - means_in(paid, draws)[base > 0] / base[base > 0]
    return bounded(float(1 - paid.mean() / alone.mean()), shares)
