"""Figures that are not means over questions, each [value, lower, upper] with 95 % bootstrap bounds.

`draws` always means how often each question is drawn in each resample, (resamples, n), see `resamples`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flywheel_core.learn.doubles import Doubles
from flywheel_core.learn.resampling import bounded, resamples

_BINS = 10
_ROUNDING = 1e-9
"""How far sums of scores may be off as floats: 0.1 + 0.2 - 0.3 is not a gain."""


def macro_f1(truth: NDArray[Any], guess: NDArray[Any], draws: Doubles) -> list[float]:
    """Return the mean F1, 0..1, over the labels of `truth`; in a resample, only over labels drawn in it.

    truth, guess: (n,), n >= 1.
    """
    labels = sorted(set(truth))
    told = np.column_stack([truth == label for label in labels]).astype(float)
    guessed = np.column_stack([guess == label for label in labels]).astype(float)
    drawn, hits = _sums(told, draws), _sums(told * guessed, draws)
    scores = 2 * hits / np.maximum(drawn + _sums(guessed, draws), 1)
    means = np.where(drawn > 0, scores, 0.0).sum(axis=1) / np.maximum((drawn > 0).sum(axis=1), 1)
    return bounded(means[0], means[1:])


def calibration_bins(confidence: Doubles, within: NDArray[np.bool_]) -> list[list[float]]:
    """Return [mean confidence, share that came true, questions] of each tenth of confidence that has any."""
    bins = _bins(confidence)
    return [
        [float(confidence[bins == at].mean()), float(within[bins == at].mean()), int((bins == at).sum())]
        for at in np.unique(bins)
    ]


def calibration_error(confidence: Doubles, within: NDArray[np.bool_], draws: Doubles) -> list[float]:
    """Return the expected calibration error, 0..1, over tenths of confidence.

    That is the mean over all questions of the distance between the mean confidence of their tenth and its
    share that came true. Chance only ever adds to distances, and resampling adds it once more, so the lower
    bound is capped at the figure itself.
    """
    member = np.eye(_BINS)[_bins(confidence)]
    off = np.abs(_sums(member * (confidence - within)[:, None], draws)).sum(axis=1)
    errors = off / np.maximum(_sums(member, draws).sum(axis=1), 1)
    value, lower, upper = bounded(errors[0], errors[1:])
    return [value, min(value, lower), max(value, upper)]


def curve_choices(expected: Doubles, costs: Doubles) -> tuple[Doubles, NDArray[np.intp]]:
    """Return the weights of cost along the cost-quality curve, (k,), and the models chosen at each, (n, k).

    A weight is the score that one unit of currency is worth. expected: scores, (n, m); costs: predicted ones,
    (n, m). Both results are empty when all models cost the same.
    """
    means = costs.mean(axis=0)
    reach = float(means.max(initial=0.0) - means.min(initial=np.inf))
    if not reach > 0:
        return np.zeros(0), np.zeros((len(costs), 0), dtype=np.intp)
    factors = np.array([0.0, *np.geomspace(0.001, 10.0, 25)]) / reach
    return factors, np.column_stack([(expected - factor * costs).argmax(axis=1) for factor in factors])


def curve_area(
    chosen: NDArray[np.intp], scores: Doubles, costs: Doubles, draws: Doubles
) -> list[float] | None:
    """Return the area under the cost-quality curve, None where there is no curve.

    It is the mean, over all costs between the cheapest and the most expensive model, of the best score that a
    cost buys. chosen: see `curve_choices`.
    """
    if not chosen.shape[1]:
        return None
    rows = np.arange(len(scores))[:, None]
    drawn = np.maximum(_sums(np.ones((len(scores), 1)), draws), 1)
    singles = _sums(costs, draws) / drawn
    low, high = singles.min(axis=1, keepdims=True), singles.max(axis=1, keepdims=True)
    cheapest = int(singles[0].argmin())
    paid = _sums(np.column_stack([costs[rows, chosen], costs[:, cheapest]]), draws) / drawn
    reached = _sums(np.column_stack([scores[rows, chosen], scores[:, cheapest]]), draws) / drawn
    order = np.lexsort((reached, paid), axis=1)
    across = (np.take_along_axis(paid, order, axis=1) - low) / np.maximum(high - low, 1e-300)
    up = np.maximum.accumulate(np.take_along_axis(reached, order, axis=1), axis=1)
    across = np.column_stack([across, np.maximum(1.0, across[:, -1])])
    areas = _area_within(across, np.column_stack([up, up[:, -1]]))
    spread = (high > low)[1:, 0]
    return bounded(areas[0], areas[1:][spread])


def _area_within(across: Doubles, up: Doubles) -> Doubles:
    """Return the area under each row's line between 0 and 1; its points (k, n) are in order and reach that far.

    Lines go further where all models cost nearly the same: choices by question then cost more, or less, than
    any model alone.
    """
    width = np.diff(across, axis=1)
    slope = np.divide(np.diff(up, axis=1), width, out=np.zeros_like(width), where=width > 0)
    ends = np.clip(across, 0.0, 1.0)
    middle = (ends[:, 1:] + ends[:, :-1]) / 2
    heights = up[:, :-1] + slope * (middle - across[:, :-1])
    result: Doubles = (np.diff(ends, axis=1) * heights).sum(axis=1)
    return result


def pair_figures(expected: Doubles, scores: Doubles, groups: NDArray[np.str_]) -> dict[str, Any]:
    """Return APGR and CPT50 of two models; the strong one is the one with the better mean score.

    expected, scores: (n, 2). The performance gap recovered is read at every share of questions sent to the
    strong model, in order of expected gain. APGR is its mean; CPT50 is the smallest share (0..1) at which
    half of the gap is recovered. Questions with equal expected gain count as the mean over all their orders,
    so a router that knows nothing has an APGR of 0.5.
    """
    strong = int(scores.mean(axis=0).argmax())
    lead, gain = expected[:, strong] - expected[:, 1 - strong], scores[:, strong] - scores[:, 1 - strong]
    order = np.argsort(-lead, kind="stable")
    gains = gain[order]
    tied = np.cumsum(np.diff(lead[order], prepend=lead[order[0]]) != 0)
    value = _recovered(gains, tied, np.ones(len(gains)))
    drawn = np.array([_recovered(gains, tied, draw) for draw in resamples(groups, 0)[:, order]])
    return {name: bounded(value[at], drawn[:, at]) for at, name in enumerate(("apgr", "cpt50"))}


def _recovered(gains: Doubles, tied: NDArray[np.intp], weights: Doubles) -> tuple[float, float]:
    """Return APGR and CPT50 of gains in order of expected gain; (0.5, 1) when nothing can be gained.

    tied: a number per gain, from 0 on, equal for gains whose order means nothing; weights: how often each
    gain counts.
    """
    counted = np.bincount(tied, weights)
    gains = (np.bincount(tied, gains * weights) / np.maximum(counted, 1e-300))[tied]
    total = float(gains @ weights)
    if total <= _ROUNDING * len(gains):
        return 0.5, 1.0
    share = np.concatenate([[0.0], np.cumsum(weights)]) / weights.sum()
    recovered = np.concatenate([[0.0], np.cumsum(gains * weights)]) / total
    return float(np.trapezoid(recovered, share)), float(share[np.argmax(recovered >= 0.5 - _ROUNDING)])


def _sums(table: Doubles, draws: Doubles) -> Doubles:
    """Return the sums of the columns (n, k) over all questions, then in each resample: (1 + resamples, k)."""
    result: Doubles = np.vstack([table.sum(axis=0), draws @ table])
    return result


def _bins(confidence: Doubles) -> NDArray[np.intp]:
    return np.minimum((confidence * _BINS).astype(np.intp), _BINS - 1)
