"""Turns expected scores into a choice: best utility, ties to the cheaper, best single model when in doubt."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from flywheel_core.learn.charges import Lengths, charged
from flywheel_core.learn.decision import ROUTER, SINGLE, THIN, UNFAMILIAR
from flywheel_core.learn.doubles import Doubles

_CODES = (ROUTER, THIN, UNFAMILIAR, SINGLE)
_EVEN = (0.0, 0.0, 0.0)
_NO_LENGTHS = Lengths()
_TENTHS = 10
_SHRINKAGE = 5.0
"""Weight, in examples, of the share over all expected scores in the share of one tenth of them."""


@dataclass(frozen=True)
class Policy:
    """Turns forecasts into a choice; all of it plain numbers.

    best: number of the best single model
    prices: (m,), utility that a model's cost and wait take away at the usual length of a prompt
    costs: (m,), cost at the usual length, in currency
    advantage: utility by which another model must be ahead of the best single one, unless it is cheaper and
        no more than `tie_tolerance` behind
    tie_tolerance: utilities this close to the best are ties, which the cheapest model wins
    min_evidence: similar training questions that another model needs to be chosen
    known_share: share, 0..1, of a text's n-grams that must be known
    always_single: whether the best single model is always chosen
    confidence: (intercept, lead, score), coefficients of a logistic model of the choice being within
        tolerance of the best
    price_slopes, cost_slopes: (m,), what each further byte adds to `prices` and `costs`
    lengths: of the training prompts
    scripts: those that a text with letters must be in, see `scripts.py`; all, when there are none
    """

    best: int
    prices: tuple[float, ...]
    costs: tuple[float, ...]
    advantage: float
    tie_tolerance: float
    min_evidence: float
    known_share: float
    always_single: bool
    confidence: tuple[float, float, float] = _EVEN
    price_slopes: tuple[float, ...] = ()
    cost_slopes: tuple[float, ...] = ()
    lengths: Lengths = _NO_LENGTHS
    scripts: tuple[str, ...] = ()

    def charges(self, lengths: Doubles) -> Doubles:
        """Return the utility that each model's cost and wait take away, (n, m).

        lengths: (n,), of the prompts, in bytes.
        """
        return self._at(self.prices, self.price_slopes, lengths)

    def _at(self, values: tuple[float, ...], slopes: tuple[float, ...], lengths: Doubles) -> Doubles:
        return charged(values, slopes or (0.0,) * len(values), self.lengths.beyond_usual(lengths))

    def choose(
        self, scores: Doubles, evidence: Doubles, known: NDArray[np.floating], lengths: Doubles
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the number of the chosen model and that of the reason, see `reason_names`, both (n,).

        scores, evidence: (n, m); known: (n,), share of a text's n-grams that the training texts had; lengths:
        (n,), of the prompts, in bytes.
        """
        rows = np.arange(len(scores))
        utilities = scores - self.charges(lengths)
        if self.always_single:
            return np.full(len(scores), self.best), np.full(len(scores), _CODES.index(SINGLE))
        eligible = evidence >= self.min_evidence
        eligible[:, self.best] = True
        barred = np.where(eligible, utilities, -np.inf)
        top = barred.max(axis=1)
        tied = barred >= top[:, None] - self.tie_tolerance
        costs = self._at(self.costs, self.cost_slopes, lengths)
        tied_costs = np.where(tied, costs, np.inf)
        cheapest = tied_costs <= tied_costs.min(axis=1, keepdims=True)
        chosen = np.where(cheapest, barred, -np.inf).argmax(axis=1)
        ahead = utilities[rows, chosen] - utilities[:, self.best]
        cheaper = costs[rows, chosen] < costs[:, self.best]
        kept = (ahead > self.advantage) | (cheaper & (ahead >= -self.tie_tolerance))
        chosen = np.where(kept, chosen, self.best)
        thin = (chosen == self.best) & ~eligible[rows, utilities.argmax(axis=1)]
        strange = known < self.known_share
        reasons = np.select(
            [strange, thin], [_CODES.index(UNFAMILIAR), _CODES.index(THIN)], _CODES.index(ROUTER)
        )
        return np.where(strange, self.best, chosen), reasons

    def confidences(self, scores: Doubles, chosen: NDArray[np.intp]) -> Doubles:
        """Return the probability (0..1) that each choice is within tolerance of the best."""
        intercept, lead, level = self.confidence
        linear = intercept + _signs(scores, chosen) @ np.array([lead, level])
        result: Doubles = 1.0 / (1.0 + np.exp(-linear))
        return result

    def to_json(self) -> dict[str, Any]:
        """Return the policy as plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild a policy from what `to_json` returned. Raises KeyError or TypeError for anything else."""
        lists: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**{**lists, "lengths": Lengths(**values["lengths"])})


def reason_names(codes: NDArray[np.intp]) -> list[str]:
    """Return the names of the reasons that `Policy.choose` gave by number."""
    return [_CODES[code] for code in codes]


def within_tolerance(picked: Doubles, best: Doubles, tolerance: float) -> NDArray[np.bool_]:
    """Return which scores are no more than `tolerance` below the best ones.

    Leaves room for rounding: as floats, 0.15 is less than 0.2 - 0.05.
    """
    found: NDArray[np.bool_] = picked >= best - tolerance - 1e-9
    return found


def fit_confidence(
    scores: Doubles, truth: Doubles, chosen: NDArray[np.intp], weights: Doubles, tolerance: float
) -> tuple[float, float, float]:
    """Fit the logistic model of `Policy.confidences` to cross-fitted and true scores, both (n, m).

    True scores are NaN where missing. The choice counts as within tolerance of a missing one with the
    probability that `_probably_within` returns, otherwise it would only be compared with the few models that
    were asked. A row weighs less the more of the other models are missing.
    """
    rows, missing = np.arange(len(truth)), np.isnan(truth)
    gone = (missing.sum(axis=1) - missing[rows, chosen]) / max(truth.shape[1] - 1, 1)
    known = ~missing[rows, chosen] & (gone < 1)
    truth, weights = truth[known], (weights * (1 - gone))[known]
    best = np.nan_to_num(truth, nan=-np.inf).max(axis=1)
    picked = truth[np.arange(len(truth)), chosen[known]]
    within = within_tolerance(picked, best, tolerance) * _probably_within(
        scores[known], truth, chosen[known], weights, tolerance
    )
    share = (float((within * weights).sum()) + 0.5) / (float(weights.sum()) + 1.0)
    if (within == 1).all() or not within.any():
        return float(np.log(share / (1 - share))), 0.0, 0.0
    signs = _signs(scores, chosen)[known]
    model = LogisticRegression(C=1.0).fit(
        np.concatenate([signs, signs]),
        np.repeat([True, False], len(signs)),
        sample_weight=np.concatenate([weights * within, weights * (1 - within)]),
    )
    return float(model.intercept_[0]), float(model.coef_[0, 0]), float(model.coef_[0, 1])


def _probably_within(
    scores: Doubles, truth: Doubles, chosen: NDArray[np.intp], weights: Doubles, tolerance: float
) -> Doubles:
    """Return the probability, (n,), that each choice is within tolerance of all missing scores.

    It is the product over the missing models, of each the share of the known ones that the choice was within
    tolerance of, among rows where the choice scored alike and the model was expected to score alike, to a
    tenth. Models are taken to be independent apart from that; if they fail together, it is too low.
    """
    picked = truth[np.arange(len(truth)), chosen]
    others = ~np.isnan(truth) & (np.arange(truth.shape[1]) != chosen[:, None])
    cells = _tenth(picked)[:, None] * _TENTHS + _tenth(scores)
    hits = others & within_tolerance(picked[:, None], truth, tolerance)
    size, shape = _TENTHS * _TENTHS, (_TENTHS, _TENTHS)
    seen = np.bincount(cells.ravel(), (others * weights[:, None]).ravel(), size).reshape(shape)
    came = np.bincount(cells.ravel(), (hits * weights[:, None]).ravel(), size).reshape(shape)
    usual = (came.sum(axis=1, keepdims=True) + 0.5) / (seen.sum(axis=1, keepdims=True) + 1.0)
    shares = ((came + _SHRINKAGE * usual) / (seen + _SHRINKAGE)).ravel()
    result: Doubles = np.where(np.isnan(truth), shares[cells], 1.0).prod(axis=1)
    return result


def _tenth(values: Doubles) -> NDArray[np.intp]:
    """Return the number of the tenth of 0..1 that each value is in."""
    return np.clip((values * _TENTHS).astype(np.intp), 0, _TENTHS - 1)


def _signs(scores: Doubles, chosen: NDArray[np.intp]) -> Doubles:
    """Return what confidence is read from, (n, 2).

    The columns are ten times the lead of the choice over the mean score, and the choice's expected score.
    """
    picked = scores[np.arange(len(scores)), chosen]
    return np.column_stack([10 * (picked - scores.mean(axis=1)), picked])
