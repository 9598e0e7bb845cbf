"""Predicts what the most similar training questions showed, shrunken towards the overall mean."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from flywheel_core.learn.doubles import Doubles
from flywheel_core.learn.targets import ManyTargets, checked, means_of

ARRAYS = ("rows_", "deviations_", "weights_", "means_", "count_", "pull_")
_CHUNK = 256


class NeighbourTable(ManyTargets):
    """Predicts y, shape (n,) or (n, m), from the `count` rows with the highest cosine similarity.

    NaN in y means missing.

    count: neighbours, >= 1; a few are noisy, 300 and more are not
    shrinkage: >= 0, weight of the overall mean, in neighbours
    rows: most reference rows that are kept

    Learned: `rows_` (r, d), each of length 1; `deviations_` (r, m) from `means_` (m,); `weights_` (r, m), 0
    where the target is missing.
    """

    _read_as = np.float32

    def __init__(
        self, count: int = 300, shrinkage: float = 50.0, rows: int = 4_000, random_state: int = 0
    ) -> None:
        self.count = count
        self.shrinkage = shrinkage
        self.rows = rows
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Keep rows of X (n, d) with their y and weights (n,). Raises ValueError for malformed input."""
        table, targets, weights = checked(self, X, y, sample_weight)
        self.means_ = means_of(targets, weights)
        drawn = np.sort(check_random_state(self.random_state).permutation(len(table))[: self.rows])
        seen = ~np.isnan(targets[drawn])
        self.rows_: NDArray[np.float32] = _unit(table[drawn].astype(np.float32))
        self.weights_: NDArray[np.float32] = (seen * weights[drawn, None]).astype(np.float32)
        self.deviations_: NDArray[np.float32] = np.nan_to_num(targets[drawn] - self.means_).astype(np.float32)
        self.count_, self.pull_ = min(self.count, len(drawn)), float(self.shrinkage)
        return self

    def expected(self, table: NDArray[np.floating]) -> Doubles:
        """Return the expected targets (n, m) of rows that are known to be well-formed."""
        count = int(self.count_)
        parts = []
        for start in range(0, len(table), _CHUNK):
            alike = _unit(table[start : start + _CHUNK].astype(np.float32)) @ self.rows_.T
            nearest = np.argpartition(alike, -count, axis=1)[:, -count:]
            weights = self.weights_[nearest].astype(np.float64)
            sums = (weights * self.deviations_[nearest]).sum(axis=1)
            parts.append(sums / np.maximum(weights.sum(axis=1) + float(self.pull_), 1e-12))
        result: Doubles = self.means_ + np.concatenate(parts)
        return result


def _unit(table: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    result: NDArray[np.float32] = table / np.maximum(lengths, 1e-12)
    return result
