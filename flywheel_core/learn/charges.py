"""Predicts what asking a model costs, and how long it takes, from the length of the prompt.

Prices are per token, so two models differ little in cost for a short question and much for a long document;
their mean costs show neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flywheel_core.learn.doubles import Doubles
from flywheel_core.learn.examples import FEWEST_ANSWERS, usual
from flywheel_core.learn.text import Excerpt


def lengths_of(texts: Sequence[str]) -> Doubles:
    """Return the length of each text in bytes of UTF-8, (n,).

    Bytes are closer to tokens than characters are, in Chinese and English alike.
    """
    return np.array(
        [
            text.size if isinstance(text, Excerpt) else len(text.encode("utf-8", "surrogatepass"))
            for text in texts
        ],
        dtype=np.float64,
    )


@dataclass(frozen=True)
class Lengths:
    """Lengths of the training prompts in bytes: the shortest, the mean (`usual`) and the longest.

    Predictions do not extrapolate beyond the shortest and the longest.
    """

    shortest: float = 0.0
    usual: float = 0.0
    longest: float = 0.0

    def beyond_usual(self, lengths: Doubles) -> Doubles:
        """Return how much longer than usual each length (n,) is, below 0 where shorter."""
        beyond: Doubles = np.clip(lengths, self.shortest, self.longest) - self.usual
        return beyond


def by_length(paid: Doubles, lengths: Doubles) -> tuple[Doubles, Doubles, Lengths]:
    """Fit each column of `paid` (n, m), NaN where unknown, to the lengths by least squares.

    Returns the values at the usual length (m,), what each byte adds (m,), and the lengths. A column with
    fewer than `FEWEST_ANSWERS` known values, or with all of them at one length, has a slope of 0. A column
    without any known value is taken to be like the one with the largest value at the usual length.
    """
    known = ~np.isnan(paid)
    values, slopes = usual(paid), np.zeros(paid.shape[1])
    seen = Lengths(float(lengths.min()), float(lengths.mean()), float(lengths.max()))
    for column in range(paid.shape[1]):
        rows = known[:, column]
        if rows.sum() >= FEWEST_ANSWERS:
            off = lengths[rows] - lengths[rows].mean()
            spread = float(off @ off)
            slopes[column] = float(off @ paid[rows, column]) / spread if spread > 0 else 0.0
            values[column] += slopes[column] * (seen.usual - lengths[rows].mean())
    asked = known.any(axis=0)
    if asked.any() and not asked.all():
        dearest = int(np.where(asked, values, -np.inf).argmax())
        values[~asked], slopes[~asked] = values[dearest], slopes[dearest]
    return values, slopes, seen


def charged(values: Sequence[float] | Doubles, slopes: Sequence[float] | Doubles, beyond: Doubles) -> Doubles:
    """Return what is predicted for prompts `beyond` (n,) bytes longer than usual, (n, m), 0 or more."""
    rows: Doubles = np.maximum(np.asarray(values) + np.outer(beyond, np.asarray(slopes)), 0.0)
    return rows
