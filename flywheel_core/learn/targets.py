"""What the estimators learn: how models differ on a question, apart from how hard it is for all of them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_array, check_is_fitted, validate_data

from flywheel_core.learn.doubles import Doubles

_ROUNDS = 20


class ManyTargets(RegressorMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn ships no types
    """Base class of regressors of one or several targets at once.

    A subclass has `expected`, the expected targets (n, m) of rows that are known to be well-formed.
    """

    single_: bool
    """Whether y had one dimension in `fit`."""
    _read_as: type[np.floating[Any]] = np.float64

    def predict(self, X: ArrayLike) -> Doubles:  # noqa: N803 - scikit-learn's name
        """Return the expected targets, shape (n,) or (n, m) as in `fit`."""
        check_is_fitted(self)
        found: Doubles = self.expected(validate_data(self, X, reset=False, dtype=self._read_as))
        return found[:, 0] if self.single_ else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # strongly shrunken: made for targets that are mostly noise
        return tags


def split_scores(scores: Doubles, weights: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Split scores into model means (m,), ease of each question (n,), and differences (n, m).

    A difference is score minus ease, NaN where the score is missing. scores: shape (n, m), 0..1, NaN where
    missing; weights: shape (n,), >= 0. The ease of a question is the mean, over the models asked, of score
    minus that model's own mean, so that a model that was only asked hard questions is not blamed for them. A
    model without any score has mean NaN.
    """
    seen = ~np.isnan(scores)
    filled = np.where(seen, scores, 0.0)
    weighted = seen * weights[:, None]
    totals, asked = weighted.sum(axis=0), seen.sum(axis=1)
    with np.errstate(invalid="ignore"):
        means = (weighted * filled).sum(axis=0) / np.where(totals > 0, totals, np.nan)
    base = np.where(np.isnan(means), 0.0, means)
    ease = np.zeros(len(scores))
    for _ in range(1 if seen.all() else _ROUNDS):
        ease = (filled - seen * base).sum(axis=1) / np.maximum(asked, 1)
        fresh = (weighted * (filled - ease[:, None])).sum(axis=0) / np.where(totals > 0, totals, 1.0)
        shift = np.average(fresh - base, weights=np.maximum(totals, 1e-12))
        fresh -= shift
        if np.abs(fresh - base).max(initial=0.0) < 1e-9:
            break
        base = fresh
    return np.where(totals > 0, base, np.nan), ease, np.where(seen, scores - ease[:, None], np.nan)


def checked(
    estimator: Any, features: ArrayLike, targets: ArrayLike, weights: ArrayLike | None
) -> tuple[Doubles, Doubles, Doubles]:
    """Validate the input; return features (n, d), targets (n, m), NaN where missing, and weights (n,).

    Sets `single_` of the estimator: whether y has one dimension. Raises ValueError for malformed input, in
    scikit-learn's words.
    """
    if targets is None:
        raise ValueError("requires y to be passed, but the target y is None")
    table: Doubles = validate_data(estimator, features, dtype=np.float64)
    values: Doubles = check_array(
        targets, ensure_2d=False, dtype=np.float64, ensure_all_finite="allow-nan", input_name="y"
    )
    if values.shape[0] != table.shape[0]:
        raise ValueError(
            f"X has {table.shape[0]} rows and y has {values.shape[0]}: inconsistent numbers of samples"
        )
    if np.isnan(values).all():
        raise ValueError("Input y contains NaN only: there is nothing to learn")
    estimator.single_ = values.ndim == 1
    return table, values.reshape(len(values), -1), _check_sample_weight(weights, table, dtype=np.float64)


def means_of(targets: Doubles, weights: Doubles) -> Doubles:
    """Return the weighted mean of each target over the rows that have it, 0 where none has."""
    seen = ~np.isnan(targets) * weights[:, None]
    result: Doubles = (seen * np.nan_to_num(targets)).sum(axis=0) / np.maximum(seen.sum(axis=0), 1e-12)
    return result


def shrunken_table(
    membership: Any, targets: Doubles, weights: Doubles, means: Doubles, shrinkage: float
) -> tuple[Doubles, Doubles]:
    """Return the shrunken mean deviation from `means` of each cell and target, and the evidence behind it.

    membership: (n, cells), dense or sparse, >= 0, how much a row belongs to a cell. Evidence is the total
    weight of the rows with that target in the cell; a cell with evidence w keeps w / (w + shrinkage) of its
    mean deviation. Both results have shape (cells, m).
    """
    seen = ~np.isnan(targets) * weights[:, None]
    evidence = np.asarray(membership.T @ seen)
    sums = np.asarray(membership.T @ (seen * np.nan_to_num(targets - means)))
    return sums / np.maximum(evidence + shrinkage, 1e-12), evidence


_Estimator = TypeVar("_Estimator")


def state_of(estimator: Any, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return the learned attributes with these names as arrays."""
    return {name: np.asarray(getattr(estimator, name)) for name in names}


def restored(kind: type[_Estimator], names: Sequence[str], arrays: Mapping[str, NDArray[Any]]) -> _Estimator:
    """Rebuild an estimator from what `state_of` returned; its `expected` gives the same.

    Raises KeyError when an array is missing.
    """
    estimator = kind()
    for name in names:
        setattr(estimator, name, arrays[name])
    return estimator
