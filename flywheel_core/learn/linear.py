"""Ridge regression of several targets at once, with missing values and a cross-validated penalty."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from flywheel_core.learn.doubles import Doubles
from flywheel_core.learn.targets import ManyTargets, checked, means_of

ARRAYS = ("coef_", "intercept_", "alpha_")
ALPHAS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0)


class MultiRidge(ManyTargets):
    """Linear model of y, shape (n,) or (n, m), where NaN means that a target is missing in that row.

    alphas: penalties to choose from, each > 0, by `folds`-fold cross-validated squared error, one for all
    targets. Learned: `coef_` (d, m), `intercept_` (m,), `alpha_`. Raises ValueError for malformed input.

    >>> MultiRidge(alphas=(1.0,)).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0]).predict([[1.0]]).round(3).tolist()
    [1.0]
    """

    def __init__(self, alphas: tuple[float, ...] = ALPHAS, folds: int = 5) -> None:
        self.alphas = alphas
        self.folds = folds

    def fit(
        self,
        X: ArrayLike,  # noqa: N803 - scikit-learn's name
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Learn from X (n, d), y, weights (n,) and groups (n,).

        Rows with the same group number stay in the same fold of the cross-validation. Raises ValueError for
        malformed input.
        """
        table, targets, weights = checked(self, X, y, sample_weight)
        if not self.alphas or min(self.alphas) <= 0:
            raise ValueError(f"alphas must be one or more numbers above 0, not {self.alphas!r}")
        folds = np.arange(len(table)) % self.folds if groups is None else np.asarray(groups) % self.folds
        self.alpha_ = (
            self.alphas[0] if len(self.alphas) == 1 else self._choose(table, targets, weights, folds)
        )
        self.coef_, self.intercept_ = _solutions(table, targets, weights, [self.alpha_])[0]
        return self

    def expected(self, table: NDArray[np.floating]) -> Doubles:
        """Return the expected targets (n, m) of rows that are known to be well-formed."""
        result: Doubles = table @ self.coef_ + self.intercept_
        return result

    def _choose(self, table: Doubles, targets: Doubles, weights: Doubles, folds: Any) -> float:
        errors = np.zeros(len(self.alphas))
        for fold in np.unique(folds):
            inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            if not len(inside):
                continue
            for at, (coef, intercept) in enumerate(
                _solutions(table[inside], targets[inside], weights[inside], self.alphas)
            ):
                error = np.nan_to_num(targets[outside] - table[outside] @ coef - intercept) ** 2
                errors[at] += float((error * weights[outside, None]).sum())
        return self.alphas[int(np.argmin(errors))]


def _solutions(
    table: Doubles, targets: Doubles, weights: Doubles, alphas: Any
) -> list[tuple[Doubles, Doubles]]:
    """Return coefficients and intercepts for each alpha.

    Targets missing in the same rows share one decomposition.
    """
    seen = ~np.isnan(targets)
    patterns, which = np.unique(seen, axis=1, return_inverse=True)
    found = [(np.zeros((table.shape[1], targets.shape[1])), np.zeros(targets.shape[1])) for _ in alphas]
    for pattern in range(patterns.shape[1]):
        rows, columns = np.flatnonzero(patterns[:, pattern]), np.flatnonzero(which.ravel() == pattern)
        if not len(rows) or not weights[rows].sum() > 0:
            continue
        part, wanted, weight = table[rows], targets[np.ix_(rows, columns)], weights[rows]
        centre, means = np.average(part, axis=0, weights=weight), means_of(wanted, weight)
        part = (part - centre) * np.sqrt(weight)[:, None]
        values, vectors = linalg.eigh(part.T @ part)
        right = vectors.T @ (part.T @ ((wanted - means) * np.sqrt(weight)[:, None]))
        for (coef, intercept), alpha in zip(found, alphas, strict=True):
            coef[:, columns] = vectors @ (right / (np.maximum(values, 0.0) + alpha)[:, None])
            intercept[columns] = means - centre @ coef[:, columns]
    return found
