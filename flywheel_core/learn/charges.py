"""What asking a model costs and how long it takes, predicted from the length of the prompt. Prices are per token: the difference
between two models is small for a question and large for a long document, and their means tell of neither."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flywheel_core.learn.examples import FEWEST_ANSWERS, usual
from flywheel_core.learn.targets import Doubles


def lengths_of(texts: Sequence[str]) -> Doubles:
    """Length of each text in bytes of UTF-8, (n,): nearer to tokens than characters are, Chinese and English alike."""
    return np.array([len(text.encode("utf-8", "surrogatepass")) for text in texts], dtype=np.float64)


@dataclass(frozen=True)
class Lengths:
    """Lengths of the training prompts in bytes. Beyond the shortest and the longest one nothing is predicted further."""

    shortest: float = 0.0
    usual: float = 0.0
    longest: float = 0.0

    def beyond_usual(self, lengths: Doubles) -> Doubles:
        """How much longer (n,) are than usual, below 0 where shorter."""
        beyond: Doubles = np.clip(lengths, self.shortest, self.longest) - self.usual
        return beyond


def by_length(paid: Doubles, lengths: Doubles) -> tuple[Doubles, Doubles, Lengths]:
    """Of each column of `paid` (n, m), NaN where unknown, its value at the usual length and what a byte adds, by least squares, (m,)
    each, and the lengths.

    A column of which fewer than `FEWEST_ANSWERS` values are known, or all at one length, grows by nothing; one of which nothing is
    known is like that with the largest mean.
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
    """What is predicted for prompts that are `beyond` (n,) bytes longer than usual, (n, m), 0 or more."""
    rows: Doubles = np.maximum(np.asarray(values) + np.outer(beyond, np.asarray(slopes)), 0.0)
    return rows
