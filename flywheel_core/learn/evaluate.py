"""How good a router is on questions it has never seen, beside the best single model, chance and the oracle.

All policies are compared on the same questions: those on which every model of the router is known, a model's own failure
included. Intervals are paired bootstraps over groups of alike questions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flywheel_core.errors import NoDataError
from flywheel_core.learn.examples import Examples
from flywheel_core.learn.resampling import interval, means_in, resamples
from flywheel_core.learn.router import Decision, Router
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.targets import Doubles

_BINS = 10
WORST = 20
"""Questions with the largest regret that are kept."""
MIN_SLICE = 20
"""Questions below which a category has no figures of its own."""


def evaluate(router: Router, examples: Examples, settings: Learning) -> dict[str, Any]:
    """All figures as JSON values: `overall`, `categories` (by the router's own category), `singles` (each model alone), `curve`,
    `calibration`, `confusion`, `worst`, and for two models `apgr` and `cpt50`.

    Figures are [value, lower, upper] with 95 % bounds. Raises NoDataError when no question has all models' outcomes.
    """
    examples = examples.pick(np.arange(len(examples)), router.models)
    whole = np.flatnonzero(~np.isnan(examples.scores).any(axis=1))
    if not len(whole):
        raise NoDataError(
            f"none of {len(examples)} questions has an outcome of each of the {len(router.models)} models",
            hint="a fifth of all questions is the test split: collect more, or take other days, flywheel router evaluate --days N",
        )
    examples = examples.pick(whole)
    decisions = router.decide_all(examples.texts)
    found = _Judged(router, examples, decisions, settings)
    result: dict[str, Any] = {
        "router": router.version,
        "models": list(router.models),
        "best_single": router.best_single,
        "questions": len(examples),
        "overall": found.figures(np.arange(len(examples))),
        "categories": {
            name: found.figures(np.flatnonzero(found.predicted == name))
            for name in sorted(set(found.predicted))
            if (found.predicted == name).sum() >= MIN_SLICE
        },
        "share": {model: float((found.chosen == at).mean()) for at, model in enumerate(router.models)},
        "singles": found.singles(),
        "reasons": _shares([decision.reason for decision in decisions]),
        "confusion": found.confusion(),
        "calibration": found.calibration(),
        "curve": found.curve(),
        "worst": found.worst(),
    }
    if len(router.models) == 2:
        result |= pair_figures(found.expected, examples.scores, examples.groups)
    return result


class _Judged:
    def __init__(
        self, router: Router, examples: Examples, decisions: Sequence[Decision], settings: Learning
    ) -> None:
        self.router, self.examples, self.settings = router, examples, settings
        self.utilities = examples.utilities(settings)
        number = {model: at for at, model in enumerate(router.models)}
        self.chosen = np.array([number[decision.model] for decision in decisions], dtype=np.intp)
        self.predicted = np.array([decision.category for decision in decisions], dtype=object)
        self.confidence = np.array([decision.confidence for decision in decisions])
        self.expected = np.array(
            [[decision.scores[model] for model in router.models] for decision in decisions]
        )
        self.truth = np.array(examples.labels, dtype=object)

    def figures(self, rows: NDArray[np.intp]) -> dict[str, Any]:
        """Means over some questions, with intervals."""
        examples, best = self.examples, self.router.policy.best
        scores, utilities, chosen = examples.scores[rows], self.utilities[rows], self.chosen[rows]
        own = np.arange(len(rows))
        columns = {
            "routed": scores[own, chosen],
            "best_single": scores[:, best],
            "random": scores.mean(axis=1),
            "oracle": scores.max(axis=1),
            "gain": scores[own, chosen] - scores[:, best],
            "utility": utilities[own, chosen],
            "utility_gain": utilities[own, chosen] - utilities[:, best],
            "regret": utilities.max(axis=1) - utilities[own, chosen],
            "cost": np.nan_to_num(examples.costs[rows][own, chosen]),
            "seconds": np.nan_to_num(examples.waits[rows][own, chosen]),
        }
        draws = resamples(examples.groups[rows], self.settings.seed)
        found: dict[str, Any] = {name: interval(column, draws) for name, column in columns.items()}
        gaps = [means_in(columns[name], draws) for name in ("gain", "oracle", "best_single")]
        gap = columns["oracle"].mean() - columns["best_single"].mean()
        spread = gaps[1] - gaps[2]
        shares = np.divide(gaps[0], spread, out=np.zeros_like(spread), where=spread > 0)
        found["gap_closed"] = [
            float(columns["gain"].mean() / gap) if gap > 0 else 0.0,
            *np.quantile(shares, [0.025, 0.975]).tolist(),
        ]
        labelled = np.array([label is not None for label in self.truth[rows]], dtype=bool)
        if labelled.any():
            truth, guess = self.truth[rows][labelled], self.predicted[rows][labelled]
            draws_of = resamples(examples.groups[rows][labelled], self.settings.seed)
            found["category_accuracy"] = interval((truth == guess).astype(float), draws_of)
            found["category_macro_f1"] = _macro_f1(truth, guess)
        return {"questions": len(rows), **found}

    def singles(self) -> dict[str, dict[str, float]]:
        """Model -> mean score, cost and seconds if every question went to it."""
        examples = self.examples
        columns = {"score": examples.scores, "cost": examples.costs, "seconds": examples.waits}
        means = {name: np.nan_to_num(values).mean(axis=0) for name, values in columns.items()}
        return {
            model: {name: float(values[at]) for name, values in means.items()}
            for at, model in enumerate(self.router.models)
        }

    def confusion(self) -> dict[str, dict[str, int]]:
        """Label -> predicted category -> questions."""
        table: dict[str, dict[str, int]] = {}
        for label, guess in zip(self.truth, self.predicted, strict=True):
            if label is not None:
                row = table.setdefault(str(label), {})
                row[str(guess)] = row.get(str(guess), 0) + 1
        return {label: dict(sorted(row.items())) for label, row in sorted(table.items())}

    def calibration(self) -> dict[str, Any]:
        """How far confidence is from what came true: the error, and per bin mean confidence, share come true, questions."""
        scores = self.examples.scores
        within = scores[np.arange(len(scores)), self.chosen] >= (
            scores.max(axis=1) - self.settings.confidence_tolerance
        )
        bins = np.minimum((self.confidence * _BINS).astype(int), _BINS - 1)
        rows = [
            [
                float(self.confidence[bins == at].mean()),
                float(within[bins == at].mean()),
                int((bins == at).sum()),
            ]
            for at in np.unique(bins)
        ]
        error = sum(abs(said - came) * count for said, came, count in rows) / len(bins)
        return {"error": error, "bins": rows}

    def curve(self) -> dict[str, Any]:
        """Mean cost and score as cost weighs more and more, and the area under the curve, both axes scaled to 0..1."""
        costs = np.nan_to_num(self.examples.costs)
        means = costs.mean(axis=0)
        scores = self.examples.scores
        if not means.max(initial=0.0) > means.min(initial=0.0):
            return {"points": [], "area": None}
        scale = float(1.0 / (means.max() - means.min()))
        own = np.arange(len(scores))
        points = []
        for factor in (0.0, *np.geomspace(0.001, 10.0, 25).tolist()):
            chosen = (self.expected - factor * scale * means).argmax(axis=1)
            points.append(
                [float(costs[own, chosen].mean()), float(scores[own, chosen].mean()), factor * scale]
            )
        line = np.array(
            sorted(
                [point[:2] for point in points]
                + [[float(means.min()), float(scores[:, means.argmin()].mean())]]
            )
        )
        across = (line[:, 0] - means.min()) * scale
        reached = np.maximum.accumulate(line[:, 1])
        area = float(np.trapezoid(np.append(reached, reached[-1]), np.append(across, max(1.0, across[-1]))))
        return {"points": points, "area": area}

    def worst(self) -> list[dict[str, Any]]:
        """The questions with the largest regret, most first."""
        own = np.arange(len(self.chosen))
        regret = self.utilities.max(axis=1) - self.utilities[own, self.chosen]
        order = np.argsort(-regret, kind="stable")[:WORST]
        return [
            {
                "question": self.examples.texts[row][:500],
                "chosen": self.router.models[self.chosen[row]],
                "best": self.router.models[int(self.utilities[row].argmax())],
                "regret": float(regret[row]),
                "confidence": float(self.confidence[row]),
            }
            for row in order
            if regret[row] > 0
        ]


def pair_figures(expected: Doubles, scores: Doubles, groups: NDArray[np.str_]) -> dict[str, Any]:
    """APGR and CPT50 of two models, each [value, lower, upper]; strong is the one with the better mean.

    expected, scores: (n, 2). The performance gap recovered is read at every share of questions that go to the strong model, in
    order of expected gain: APGR is its mean, CPT50 the smallest share (0..1) at which half of it is recovered.
    """
    strong = int(scores.mean(axis=0).argmax())
    lead, gain = expected[:, strong] - expected[:, 1 - strong], scores[:, strong] - scores[:, 1 - strong]
    order = np.argsort(-lead, kind="stable")
    draws = resamples(groups, 0)[:, order] if len(groups) else np.zeros((0, 0))
    gains = gain[order]
    values = [_recovered(gains, np.ones(len(gains)))]
    values += [_recovered(gains, draw) for draw in draws]
    table = np.array(values)
    bounds = np.quantile(table[1:], [0.025, 0.975], axis=0)
    return {
        name: [float(table[0, at]), float(bounds[0, at]), float(bounds[1, at])]
        for at, name in enumerate(("apgr", "cpt50"))
    }


def _recovered(gains: Doubles, weights: Doubles) -> tuple[float, float]:
    """APGR and CPT50 of gains in order of expected gain, each counted `weights` times; (0.5, 1) when nothing can be gained."""
    total = float(gains @ weights)
    if total <= 0:
        return 0.5, 1.0
    share = np.concatenate([[0.0], np.cumsum(weights)]) / weights.sum()
    recovered = np.concatenate([[0.0], np.cumsum(gains * weights)]) / total
    return float(np.trapezoid(recovered, share)), float(share[np.argmax(recovered >= 0.5)])


def _macro_f1(truth: NDArray[Any], guess: NDArray[Any]) -> float:
    found = []
    for label in set(truth):
        hits = int(((truth == label) & (guess == label)).sum())
        found.append(2 * hits / (int((truth == label).sum()) + int((guess == label).sum())))
    return float(np.mean(found))


def _shares(names: Sequence[str]) -> Mapping[str, float]:
    return {name: names.count(name) / len(names) for name in sorted(set(names))}
