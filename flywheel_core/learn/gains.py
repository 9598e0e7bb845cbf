"""What a challenger gains over the champion, question by question."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flywheel_core.learn.bounds import lower_bound


@dataclass(frozen=True)
class Gains:
    """What the challenger gains over the champion, with one entry per question.

    Repeats of a question are one entry with their mean.

    gains: (n,), utility, challenger's minus champion's
    slices: length n, the champion's predicted category of each question
    weights: (n,), > 0, how many questions each entry stands for; None for 1 each
    received: (n,), when the question last came, unix seconds
    differing: (k, 2), for each question on which the routers differ, when it came and how many such questions
        it stands for, 0 where its gain is unknown
    alike: (n, 2), a number that is equal for entries that are alike, and the day on which each came; None if all are
        independent
    """

    gains: NDArray[np.float64]
    slices: Sequence[str]
    weights: NDArray[np.float64] | None = None
    received: NDArray[np.float64] | None = None
    differing: NDArray[np.float64] | None = None
    alike: NDArray[np.intp] | None = None

    def __post_init__(self) -> None:
        if self.gains.shape != (len(self.slices),):
            raise ValueError(f"{self.gains.shape} gains and {len(self.slices)} slices do not belong together")

    def pick(self, rows: NDArray[np.intp]) -> "Gains":
        """Return these entries (numbers)."""
        return Gains(
            self.gains[rows],
            [self.slices[row] for row in rows],
            None if self.weights is None else self.weights[rows],
            None if self.received is None else self.received[rows],
            self.differing,
            None if self.alike is None else self.alike[rows],
        )

    def told(self) -> float:
        """Return the known share, 0..1, of the questions on which the routers differ.

        Counts only questions that came since the oldest entry.
        """
        if self.differing is None or self.received is None or not len(self.received):
            return 1.0
        rows = self.differing[self.differing[:, 0] >= self.received.min()]
        return min(1.0, float(rows[:, 1].mean())) if len(rows) else 1.0

    def shares(self) -> NDArray[np.float64]:
        """Return each entry's contribution to the mean gain, (n,).

        The mean of the contributions is the mean gain over all questions that the entries stand for.
        """
        return self.gains if self.weights is None else self.gains * self.weights / self.weights.mean()

    def lower(self, level: float) -> float:
        """Return a value that the true mean gain exceeds, except with probability `level`.

        Needs two or more entries.
        """
        shares = self.shares()
        most = 1.0 if self.weights is None else float(self.weights.max() / self.weights.mean())
        return lower_bound(shares, level, worst=-max(most, float(np.abs(shares).max())), alike=self.alike)
