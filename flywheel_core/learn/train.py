"""Trains a router from examples. Every choice is made by cross-validation inside the given examples.

The candidates are the best single model, the classifier of labels, and the blend of estimators. A candidate
replaces the best single model only if the gain of its cross-fitted decisions exceeds its standard error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # it ships no types

from flywheel_core.learn.charges import by_length, lengths_of
from flywheel_core.learn.doubles import Doubles
from flywheel_core.learn.ensemble import fit_ensemble
from flywheel_core.learn.examples import Examples, trainable
from flywheel_core.learn.familiar import least_known
from flywheel_core.learn.features import TextFeatures
from flywheel_core.learn.labels import Trained, crossed_labels
from flywheel_core.learn.policy import Policy, fit_confidence
from flywheel_core.learn.router import GENERAL, Router
from flywheel_core.learn.scripts import scripts_of
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.targets import means_of, split_scores

ADVANTAGES = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.04)
"""Leads over the best single model, in utility, that the policy's `advantage` is chosen from."""
SELDOM, SELDOM_ERRORS = 0.5, 2.0
"""When a model counts as seldom asked, and how far ahead it must then be to be the best single model.

SELDOM: share of the answers of the model with most; SELDOM_ERRORS: standard errors of the model's mean.
"""


def train_examples(
    examples: Examples,
    settings: Learning,
    *,
    version: str,
    categories: Mapping[str, str] | None = None,
    models: Sequence[str] | None = None,
    candidates: Sequence[str] | None = None,
    single: bool = False,
) -> Trained:
    """Train a router from examples. Deterministic for the same examples and settings.

    categories: model -> category
    models: those that may be chosen; None for all that were asked
    candidates: models that collected questions are sent to whatever was decided; None for all
    single: whether to use the best single model in any case

    Raises NoDataError when no model has an answer.
    """
    examples = trainable(examples, settings, models)
    with threadpool_limits(limits=1):  # summing in another order would give other bytes
        return _Training(examples, settings, version, dict(categories or {}), candidates).run(single)


class _Training:
    """The state of one training; each step uses what the steps before it found."""

    def __init__(
        self,
        examples: Examples,
        settings: Learning,
        version: str,
        categories: Mapping[str, str],
        candidates: Sequence[str] | None,
    ) -> None:
        self.examples, self.settings, self.version = examples, settings, version
        self.categories = tuple(categories.get(model, GENERAL) for model in examples.models)
        self.utilities = examples.utilities(settings)
        self.means, self.ease, self.differences = split_scores(examples.scores, examples.weights)
        self.lengths = lengths_of(examples.texts)
        self.costs, self.cost_slopes, self.seen = by_length(examples.costs, self.lengths)
        waits, wait_slopes, _ = by_length(examples.waits, self.lengths)
        self.prices = settings.lambda_cost * self.costs + settings.lambda_latency * waits
        self.price_slopes = settings.lambda_cost * self.cost_slopes + settings.lambda_latency * wait_slopes
        self.best = self._steadiest(candidates)

    def _steadiest(self, candidates: Sequence[str] | None) -> int:
        """Return the number of the best single model.

        All questions go there when in doubt, so a model that was asked too seldom for a fair comparison has
        to be ahead by `SELDOM_ERRORS` standard errors of its mean.

        Where models were asked at random, an answer stands for 1 / probability questions (Horvitz and
        Thompson, 1952): otherwise a model that was mostly asked what it is good at would seem good at
        everything. A model that is not among the candidates was asked only where it was chosen, and no
        probability says how seldom; it can be the best only if no model is a candidate.
        """
        known = ~np.isnan(self.examples.scores)
        means, answers = self.means, known.sum(axis=0).astype(np.float64)
        if self.examples.asked is not None:
            standing = known * self.examples.weights[:, None] / self.examples.asked
            means = (standing * np.nan_to_num(self.examples.scores)).sum(axis=0) / standing.sum(axis=0)
            answers = standing.sum(axis=0) ** 2 / (standing**2).sum(axis=0)
        off = np.nan_to_num(self.examples.scores - means)
        spread = float(np.sqrt((off**2).sum() / known.sum()))
        doubt = np.where(
            answers < SELDOM * answers.max(), SELDOM_ERRORS * spread / np.sqrt(np.maximum(answers, 1)), 0.0
        )
        asked_anyway = np.array([candidates is None or model in candidates for model in self.examples.models])
        worth = np.where(asked_anyway | (not asked_anyway.any()), means - self.prices - doubt, -np.inf)
        return int(np.argmax(worth))

    def run(self, single: bool) -> Trained:
        """Return the trained router.

        It is the best single model's when there is too little to learn from or nothing to choose between, or
        when no candidate is better.
        """
        if single or len(self.examples) < self.settings.min_examples or len(self.examples.models) < 2:
            return self._best_single("asked for" if single else "too few examples or models")
        settings, texts = self.settings, self.examples.texts
        self.features = TextFeatures.fit(
            texts,
            dimensions=settings.dimensions,
            rows=settings.feature_rows,
            seed=settings.seed,
            answers=self.examples.answers,
        )
        table, _ = self.features.transform(texts, jobs=settings.jobs)
        folds = self.examples.folds(_fold_count(len(texts), settings))
        if len(np.unique(folds)) < 2:
            return self._best_single("all questions are alike")
        latent = self.features.dimensions
        ensemble, crossed, ease, evidence = fit_ensemble(
            table, self.differences, self.ease, self.examples.weights, folds, latent, settings
        )
        scores = np.clip(crossed["blend"] + ease[:, None], 0.0, 1.0)
        groups = self.examples.groups
        familiar = least_known(self.features, texts, groups, rows=settings.feature_rows, seed=settings.seed)
        policy = self._policy(
            always_single=False, known_share=familiar, scripts=scripts_of(texts, self._least_evidence())
        )
        blended, gain = self._with_advantage(policy, scores, evidence)
        candidates = {"best_single": (0.0, 0.0), "blend": gain}
        labelled = crossed_labels(
            self.examples, self.categories, self.differences, self.ease, table, latent, folds
        )
        if labelled is not None:
            by_labels, label_scores = labelled
            counts = np.broadcast_to(self._counts(), scores.shape)
            label_policy, candidates["labels"] = self._with_advantage(policy, label_scores, counts)
        winner = max(
            candidates, key=lambda name: (candidates[name][0] - candidates[name][1], name == "best_single")
        )
        if winner == "labels" and labelled is not None:
            router = replace(self._router(label_policy), features=self.features, **by_labels)
            found = self._trained(router, label_scores, counts)
        elif winner == "blend":
            router = self._router(blended)
            found = self._trained(
                replace(router, features=ensemble.compact(self.features), ensemble=ensemble), scores, evidence
            )
        else:
            found = self._best_single("no candidate is ahead by more than its standard error")
        figures = {
            "blend_weights": ensemble.weights,
            "candidates": {
                name: {"gain": gain, "standard_error": error} for name, (gain, error) in candidates.items()
            },
        }
        return replace(found, figures={**found.figures, **figures, "candidate": winner})

    def _with_advantage(
        self, policy: Policy, scores: Doubles, evidence: Doubles
    ) -> tuple[Policy, tuple[float, float]]:
        """Return the policy with the advantage that gains most on cross-fitted scores, and that gain.

        The gain comes with its standard error, see `_gain`.
        """
        gains = {}
        for advantage in ADVANTAGES:
            trial = replace(policy, advantage=advantage)
            chosen, _ = trial.choose(scores, evidence, np.ones(len(scores)), self.lengths)
            gains[advantage] = self._gain(chosen)
        best = max(gains, key=lambda value: (round(gains[value][0], 12), value))
        return replace(policy, advantage=best), gains[best]

    def _gain(self, chosen: NDArray[np.intp]) -> tuple[float, float]:
        """Return the mean gain in utility over the best single model, and its standard error.

        An unknown utility counts as no gain.
        """
        picked = self.utilities[np.arange(len(chosen)), chosen]
        gains = np.nan_to_num(picked - self.utilities[:, self.best])
        weights = self.examples.weights / self.examples.weights.sum()
        mean = float(weights @ gains)
        return mean, float(np.sqrt((weights**2) @ (gains - mean) ** 2))

    def _least_evidence(self) -> float:
        """Return how many similar questions there must be for another model than the best single one."""
        return min(self.settings.min_evidence, len(self.examples) / 40)

    def _policy(self, *, always_single: bool, known_share: float, scripts: tuple[str, ...] = ()) -> Policy:
        return Policy(
            self.best,
            tuple(self.prices.tolist()),
            tuple(self.costs.tolist()),
            0.0,
            self.settings.tie_tolerance,
            self._least_evidence(),
            known_share,
            always_single,
            price_slopes=tuple(self.price_slopes.tolist()),
            cost_slopes=tuple(self.cost_slopes.tolist()),
            lengths=self.seen,
            scripts=scripts,
        )

    def _router(self, policy: Policy) -> Router:
        means = means_of(self.differences, self.examples.weights)
        spread = np.sqrt(means_of((self.differences - means) ** 2, self.examples.weights))
        return Router(
            self.version,
            self.examples.models,
            self.categories,
            policy,
            np.clip(means, 0.0, 1.0),
            spread,
            self._counts(),
        )

    def _counts(self) -> Doubles:
        """Return in how many examples each model's score is known."""
        counts: Doubles = (~np.isnan(self.differences)).sum(axis=0).astype(float)
        return counts

    def _best_single(self, why: str) -> Trained:
        router = self._router(self._policy(always_single=True, known_share=0.0))
        scores = np.tile(router.means, (len(self.examples), 1))
        found = self._trained(router, scores)
        return replace(found, figures={**found.figures, "candidate": "best_single", "why": why})

    def _trained(self, router: Router, scores: Doubles, evidence: Doubles | None = None) -> Trained:
        """Return the router with its confidence fitted to cross-fitted scores."""
        counts = np.full(scores.shape, np.inf) if evidence is None else evidence
        chosen, _ = router.policy.choose(scores, counts, np.ones(len(scores)), self.lengths)
        confidence = fit_confidence(
            scores, self.examples.scores, chosen, self.examples.weights, self.settings.confidence_tolerance
        )
        figures = {"examples": len(self.examples), "best_single": router.best_single}
        return Trained(replace(router, policy=replace(router.policy, confidence=confidence)), figures)


def _fold_count(examples: int, settings: Learning) -> int:
    """Return the number of folds: the more examples, the fewer.

    With many examples, two or three folds leave enough to learn from, and every fold costs time.
    """
    return min(settings.folds, 5 if examples <= 20_000 else 3 if examples <= 50_000 else 2)
