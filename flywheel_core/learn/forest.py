"""Extremely randomised trees that partition the questions; each leaf holds shrunken mean scores per model."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.ensemble import ExtraTreesRegressor

from flywheel_core.learn.doubles import Doubles
from flywheel_core.learn.targets import ManyTargets, checked, means_of, shrunken_table

_CHUNK = 512
ARRAYS = ("roots_", "children_", "feature_", "threshold_", "value_", "means_", "depth_")


class LeafTables(ManyTargets):
    """Predicts the mean of y in the leaves a row falls into; y is (n,) or (n, m), NaN means missing.

    trees: how many
    leaf: fewest rows in a leaf
    share: of the features, 0..1, that are tried at a split
    rows: most rows that a tree is grown on; if there are more, they are drawn with replacement
    shrinkage: >= 0, weight of the overall mean in a leaf, in rows of evidence

    Learned, the trees one after another: `children_` (nodes, 2), a leaf leads to itself; `feature_`,
    `threshold_`; `value_` (nodes, m), deviations from `means_` (m,); `roots_` (trees,); and `depth_`, the
    depth of the deepest tree.
    """

    _read_as = np.float32

    def __init__(
        self,
        trees: int = 200,
        leaf: int = 20,
        share: float = 0.3,
        shrinkage: float = 5.0,
        rows: int = 12_000,
        random_state: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.trees = trees
        self.leaf = leaf
        self.share = share
        self.shrinkage = shrinkage
        self.rows = rows
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Learn from X (n, d), y and weights (n,). Raises ValueError for malformed input."""
        table, targets, weights = checked(self, X, y, sample_weight)
        few = len(table) <= self.rows
        forest = ExtraTreesRegressor(
            self.trees,
            min_samples_leaf=self.leaf,
            max_features=self.share,
            bootstrap=not few,
            max_samples=None if few else self.rows,
            random_state=self.random_state,
            n_jobs=self.n_jobs,
        )
        self.means_ = means_of(targets, weights)
        deviations = np.nan_to_num(targets - self.means_)
        table = table.astype(np.float32)  # the forest compares in this precision
        forest.fit(
            table, deviations.ravel() if deviations.shape[1] == 1 else deviations, sample_weight=weights
        )
        self._keep(forest)
        nodes = forest.apply(table) + self.roots_
        membership = sparse.csr_matrix(
            (np.ones(nodes.size), nodes.ravel(), np.arange(len(nodes) + 1) * nodes.shape[1]),
            shape=(len(nodes), len(self.feature_)),
        )
        values, _ = shrunken_table(membership, targets, weights, self.means_, self.shrinkage)
        self.value_: NDArray[np.float32] = values.astype(np.float32)
        return self

    def expected(self, table: NDArray[np.float32]) -> Doubles:
        """Return the expected targets (n, m) of rows that are known to be well-formed."""
        parts = [
            self.value_[self.leaves(table[start : start + _CHUNK])].mean(axis=1)
            for start in range(0, len(table), _CHUNK)
        ]
        result: Doubles = self.means_ + np.concatenate(parts)
        return result

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return one forest with the trees of several fitted ones; it predicts the mean over all trees."""
        whole = cls(trees=sum(len(part.roots_) for part in parts))
        whole.single_ = parts[0].single_
        shares = np.array([len(part.roots_) for part in parts]) / whole.trees
        whole.means_ = shares @ np.stack([part.means_ for part in parts])
        starts = np.cumsum([0, *(len(part.feature_) for part in parts[:-1])])
        for name in ("feature_", "threshold_", "value_"):
            setattr(whole, name, np.concatenate([getattr(part, name) for part in parts]))
        for name in ("roots_", "children_"):
            moved = [getattr(part, name) + start for part, start in zip(parts, starts, strict=True)]
            setattr(whole, name, np.concatenate(moved).astype(np.int32))
        whole.depth_ = max(part.depth_ for part in parts)
        return whole

    def leaves(self, table: NDArray[np.float32]) -> NDArray[np.int32]:
        """Return the leaf of each row in each tree, shape (n, trees)."""
        if len(table) == 1:
            return self._leaves_of_one(table[0])[None, :]
        rows = np.arange(len(table))[:, None]
        nodes: NDArray[np.int32] = np.broadcast_to(self.roots_, (len(table), len(self.roots_)))
        for _ in range(int(self.depth_)):
            beyond = table[rows, self.feature_.take(nodes)] > self.threshold_.take(nodes)
            nodes = self.children_.take(2 * nodes + beyond)
        return nodes

    def _leaves_of_one(self, row: NDArray[np.float32]) -> NDArray[np.int32]:
        nodes = self.roots_
        for _ in range(int(self.depth_)):
            beyond = row.take(self.feature_.take(nodes)) > self.threshold_.take(nodes)
            nodes = self.children_.take(2 * nodes + beyond)
        return nodes

    def _keep(self, forest: Any) -> None:
        trees = [one.tree_ for one in forest.estimators_]
        sizes = [tree.node_count for tree in trees]
        offsets = np.cumsum([0, *sizes[:-1]])
        children, features, thresholds = [], [], []
        for tree, offset in zip(trees, offsets, strict=True):
            own = np.arange(tree.node_count)
            leaf = tree.children_left < 0
            pair = np.stack([tree.children_left, tree.children_right], axis=1)
            children.append(np.where(leaf[:, None], own[:, None], pair) + offset)  # a leaf leads to itself
            features.append(np.where(leaf, 0, tree.feature))
            thresholds.append(np.where(leaf, 0.0, tree.threshold))
        self.roots_: NDArray[np.int32] = offsets.astype(np.int32)
        self.children_: NDArray[np.int32] = np.concatenate(children).astype(np.int32)
        self.feature_: NDArray[np.int16] = np.concatenate(features).astype(np.int16)
        self.threshold_: NDArray[np.float64] = np.concatenate(thresholds)
        self.depth_ = max(tree.max_depth for tree in trees)
