"""How good a router is on questions it has never seen, beside the best single model, chance and the oracle.

All policies are compared on the same questions: those with a known outcome of every model of the router, a
model's own failure included. Intervals are paired bootstraps over groups of similar questions.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flywheel_core.errors import NoDataError
from flywheel_core.learn.charges import by_length, charged, lengths_of
from flywheel_core.learn.decision import Decision
from flywheel_core.learn.doubles import Doubles
from flywheel_core.learn.examples import Examples, filled
from flywheel_core.learn.measures import (
    calibration_bins,
    calibration_error,
    curve_area,
    curve_choices,
    macro_f1,
    pair_figures,
)
from flywheel_core.learn.policy import within_tolerance
from flywheel_core.learn.resampling import bounded, interval, means_in, resamples, saved
from flywheel_core.learn.router import Router
from flywheel_core.learn.settings import Learning

WORST = 20
"""Most questions listed among those with the largest regret."""
MOST = 20_000
"""Most questions that are judged; of more, those with the lowest hashes.

A thousand resamples of this many take 160 MB, and by then the bounds of a gain are within half a point.
"""
MIN_SLICE = 20
"""Fewest questions for which a category has figures of its own."""


def evaluate(router: Router, examples: Examples, settings: Learning) -> dict[str, Any]:
    """Return all figures of a router as JSON values.

    questions: how many are compared
    drawn_from: how many could be compared, see `MOST`
    left_out: how many have an outcome of only some models
    days: first and last day of the questions that could be compared, last day of all; empty where unknown
    overall, categories: figures over all questions, and by the router's own category
    singles: each model alone
    reasons: share of the decisions with each reason
    confusion, calibration, curve, worst: see the methods below and `calibration_bins`

    The figures in `overall` and `categories` are [value, lower, upper] with 95 % bounds. They include `apgr`
    and `cpt50` for two models, `curve_area` where models differ in cost, and `cost_saved` and
    `seconds_saved`, shares of what the best single model takes. An unknown cost or wait counts as the model's
    mean. Where a model has no known one at all, it may be the dearest by far: `cost` or `seconds`, the share
    saved, and for costs the curve are then left out.

    Raises NoDataError when no question has an outcome of every model.
    """
    examples = examples.pick(np.arange(len(examples)), router.models)
    known = ~np.isnan(examples.scores)
    whole = np.flatnonzero(known.all(axis=1))
    left_out = int(known.any(axis=1).sum()) - len(whole)
    last_day = int(examples.days.max(initial=0))
    if not len(whole):
        raise NoDataError(
            f"none of {len(examples)} questions has an outcome of each of the {len(router.models)} models",
            hint="all ways of choosing are compared on the same questions, asked of all models, as in training mode; a fifth of them"
            " is the test split: collect more, or take other days, flywheel router evaluate --days N",
        )
    days = examples.days[whole]
    drawn = np.sort(whole[np.argsort(examples.groups[whole], kind="stable")[:MOST]])
    examples = examples.pick(drawn)
    decisions = router.decide_all(examples.texts)
    found = _Judged(router, examples, decisions, settings)
    result: dict[str, Any] = {
        "router": router.version,
        "models": list(router.models),
        "best_single": router.best_single,
        "questions": len(examples),
        "drawn_from": len(whole),
        "left_out": left_out,
        "days": [
            date.fromordinal(int(day)).isoformat()
            for day in (days.min(), days.max(), last_day)
            if days.min() > 0
        ],
        "overall": found.figures(np.arange(len(examples))),
        "categories": {
            name: found.figures(np.flatnonzero(found.predicted == name))
            for name in sorted(set(found.predicted))
            if (found.predicted == name).sum() >= MIN_SLICE
        },
        "singles": found.singles(),
        "reasons": _shares([decision.reason for decision in decisions]),
        "confusion": found.confusion(),
        "calibration": calibration_bins(found.confidence, found.within),
        "curve": found.curve(),
        "worst": found.worst(),
    }
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
        self.costs = filled(examples.costs)
        known = {"cost": examples.costs, "seconds": examples.waits}
        self.told = {name: (~np.isnan(table)).sum(axis=0) > 0 for name, table in known.items()}
        self.paid = {name: filled(table) for name, table in known.items() if self.told[name].any()}
        picked = examples.scores[np.arange(len(examples)), self.chosen]
        self.within = within_tolerance(picked, examples.scores.max(axis=1), settings.confidence_tolerance)
        predicted = _predicted_costs(examples) if self.told["cost"].all() else np.zeros_like(examples.costs)
        self.factors, self.along = curve_choices(self.expected, predicted)

    def figures(self, rows: NDArray[np.intp]) -> dict[str, Any]:
        """Return the figures of some questions (row numbers), with intervals."""
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
        }
        whole = {name: paid[rows] for name, paid in self.paid.items() if self.told[name].all()}
        columns |= {name: paid[own, chosen] for name, paid in whole.items()}
        draws = resamples(examples.groups[rows], self.settings.seed)
        found: dict[str, Any] = {name: interval(column, draws) for name, column in columns.items()}
        for name, paid in whole.items():
            less = saved(columns[name], paid[:, best], draws)
            if less is not None:
                found[f"{name}_saved"] = less
        gaps = [means_in(columns[name], draws) for name in ("gain", "oracle", "best_single")]
        gap = columns["oracle"].mean() - columns["best_single"].mean()
        spread = gaps[1] - gaps[2]
        shares = np.divide(gaps[0], spread, out=np.zeros_like(spread), where=spread > 0)
        found["gap_closed"] = bounded(float(columns["gain"].mean() / gap) if gap > 0 else 0.0, shares)
        labelled = np.array([label is not None for label in self.truth[rows]], dtype=bool)
        if labelled.any():
            truth, guess = self.truth[rows][labelled], self.predicted[rows][labelled]
            draws_of = resamples(examples.groups[rows][labelled], self.settings.seed)
            found["category_accuracy"] = interval((truth == guess).astype(float), draws_of)
            found["category_macro_f1"] = macro_f1(truth, guess, draws_of)
        found["calibration_error"] = calibration_error(self.confidence[rows], self.within[rows], draws)
        area = curve_area(self.along[rows], scores, self.costs[rows], draws)
        if area is not None:
            found["curve_area"] = area
        if len(self.router.models) == 2:
            found |= pair_figures(self.expected[rows], scores, examples.groups[rows])
        given = {
            model: interval((chosen == at).astype(float), draws)
            for at, model in enumerate(self.router.models)
        }
        return {"questions": len(rows), **found, "share": given}

    def singles(self) -> dict[str, dict[str, float]]:
        """Return model -> mean score, cost and seconds, where known, if every question went to it."""
        columns = {"score": self.examples.scores, **self.paid}
        means = {name: values.mean(axis=0) for name, values in columns.items()}
        return {
            model: {
                name: float(values[at])
                for name, values in means.items()
                if name == "score" or self.told[name][at]
            }
            for at, model in enumerate(self.router.models)
        }

    def confusion(self) -> dict[str, dict[str, int]]:
        """Return label -> predicted category -> number of questions."""
        table: dict[str, dict[str, int]] = {}
        for label, guess in zip(self.truth, self.predicted, strict=True):
            if label is not None:
                row = table.setdefault(str(label), {})
                row[str(guess)] = row.get(str(guess), 0) + 1
        return {label: dict(sorted(row.items())) for label, row in sorted(table.items())}

    def curve(self) -> list[list[float]]:
        """Return the points of the cost-quality curve, as cost weighs more and more.

        A point is mean cost, mean score, and the score that one unit of currency is worth. Empty when all
        models cost the same.
        """
        own = np.arange(len(self.chosen))
        return [
            [
                float(self.costs[own, chosen].mean()),
                float(self.examples.scores[own, chosen].mean()),
                float(factor),
            ]
            for factor, chosen in zip(self.factors, self.along.T, strict=True)
        ]

    def worst(self) -> list[dict[str, Any]]:
        """Return the questions with the largest regret, largest first."""
        own = np.arange(len(self.chosen))
        regret = self.utilities.max(axis=1) - self.utilities[own, self.chosen]
        order = np.argsort(-regret, kind="stable")[:WORST]
        return [
            {
                "id": None if self.examples.ids is None else self.examples.ids[int(row)],
                "question": self.examples.texts[row][:500],
                "chosen": self.router.models[self.chosen[row]],
                "best": self.router.models[int(self.utilities[row].argmax())],
                "regret": float(regret[row]),
                "confidence": float(self.confidence[row]),
            }
            for row in order
            if regret[row] > 0
        ]


def _predicted_costs(examples: Examples) -> Doubles:
    """Return what each model's answer is expected to cost by the length of the prompt, (n, m)."""
    lengths = lengths_of(examples.texts)
    values, slopes, seen = by_length(examples.costs, lengths)
    return charged(values, slopes, seen.beyond_usual(lengths))


def _shares(names: Sequence[str]) -> Mapping[str, float]:
    return {name: names.count(name) / len(names) for name in sorted(set(names))}
