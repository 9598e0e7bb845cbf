"""Predicts from soft clusters of texts, found without labels: membership times shrunken mean scores."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import KMeans
from sklearn.utils import check_random_state

from flywheel_core.learn.doubles import Doubles
from flywheel_core.learn.targets import ManyTargets, checked, means_of, shrunken_table

ARRAYS = ("centres_", "scale_", "means_", "table_", "evidence_")


class ClusterTable(ManyTargets):
    """Predicts y, shape (n,) or (n, m), from the clusters that a row belongs to; NaN in y means missing.

    clusters: how many, >= 1
    sharpness: > 0, how fast membership falls with squared distance, in units of the mean squared distance to
        the nearest centre
    shrinkage: >= 0, weight of the overall mean in a cluster, in rows of evidence
    rows: most rows that are clustered

    Learned: `centres_` (k, d), `scale_`, `table_` (k, m), deviations from `means_` (m,), `evidence_` (k, m).
    """

    def __init__(
        self,
        clusters: int = 60,
        sharpness: float = 6.0,
        shrinkage: float = 20.0,
        rows: int = 20_000,
        random_state: int = 0,
    ) -> None:
        self.clusters = clusters
        self.sharpness = sharpness
        self.shrinkage = shrinkage
        self.rows = rows
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Learn from X (n, d), y and weights (n,). Raises ValueError for malformed input."""
        table, targets, weights = checked(self, X, y, sample_weight)
        state = check_random_state(self.random_state)
        drawn = np.sort(state.permutation(len(table))[: self.rows])
        found = KMeans(min(self.clusters, len(np.unique(table[drawn], axis=0))), n_init=1, random_state=state)
        self.centres_: Doubles = found.fit(table[drawn]).cluster_centers_
        self.scale_ = max(float(_distances(table[drawn], self.centres_).min(axis=1).mean()), 1e-12)
        self.means_ = means_of(targets, weights)
        self.table_, self.evidence_ = shrunken_table(
            self.membership(table), targets, weights, self.means_, self.shrinkage
        )
        return self

    def membership(self, table: NDArray[np.floating]) -> Doubles:
        """Return the share (0..1) of each row in each cluster, shape (n, k); rows sum to 1."""
        distances = _distances(table, self.centres_) / self.scale_
        shares = np.exp(-self.sharpness * (distances - distances.min(axis=1, keepdims=True)))
        result: Doubles = shares / shares.sum(axis=1, keepdims=True)
        return result

    def expected(self, table: NDArray[np.floating]) -> Doubles:
        """Return the expected targets (n, m) of rows that are known to be well-formed."""
        result: Doubles = self.means_ + self.membership(table) @ self.table_
        return result


def _distances(table: NDArray[np.floating], centres: Doubles) -> Doubles:
    """Return squared Euclidean distances, shape (n, k)."""
    lengths = np.einsum("nd,nd->n", table, table)[:, None] + np.einsum("kd,kd->k", centres, centres)
    distances: Doubles = np.maximum(lengths - 2 * (table @ centres.T), 0.0)
    return distances
