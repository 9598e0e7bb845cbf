"""Gains drawn at random, and nightly looks at them."""

import numpy as np
from numpy.typing import NDArray

from flywheel_core.config_promotion import Promotion
from flywheel_core.learn.gains import Gains
from flywheel_core.learn.promote import judge
from flywheel_core.learn.promotion_log import Looks

NIGHTS = 30
SETTINGS = Promotion()


def gains(values: NDArray[np.float64], slices: list[str] | None = None, per_day: int | None = None) -> Gains:
    """Return gains that came at `per_day` questions a day; without it they have no times of receipt."""
    received = None if per_day is None else np.arange(len(values), dtype=np.float64) * 86_400 / per_day
    return Gains(values, slices or ["general"] * len(values), received=received)


def drawn(random: np.random.Generator, count: int, better: float, worse: float) -> NDArray[np.float64]:
    """Return `count` gains of 1, -1 or 0: 1 with probability `better`, -1 with probability `worse`."""
    return random.choice([1.0, -1.0, 0.0], count, p=[better, worse, 1 - better - worse])


def promoted_within(values: NDArray[np.float64], per_night: int, settings: Promotion = SETTINGS) -> bool:
    """Return whether nightly looks at a growing sample ever promote."""
    looks = Looks()
    for night in range(1, len(values) // per_night + 1):
        verdict = judge(gains(values[: night * per_night]), looks, settings)
        if verdict.outcome == "promoted":
            return True
        if verdict.look is not None:
            looks = Looks(verdict.look, verdict.questions)
    return False
