"""A trained router: text features, score forecasts, and the policy that turns these into decisions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flywheel_core.learn.charges import lengths_of
from flywheel_core.learn.decision import Decision
from flywheel_core.learn.doubles import Doubles
from flywheel_core.learn.ensemble import Ensemble, ridge_table
from flywheel_core.learn.features import TextFeatures
from flywheel_core.learn.linear import MultiRidge
from flywheel_core.learn.policy import Policy, reason_names
from flywheel_core.learn.scripts import script_of

GENERAL = "general"
"""Category of a model to which the configuration gives none."""
_CHUNK = 4_096


@dataclass(frozen=True)
class Forecast:
    """What is expected of m models on n texts.

    scores: expected scores (n, m); errors: their standard errors (n, m); evidence: similar training questions
    behind them (n, m); known: known share of each text's n-grams (n,), 0 in a script that the training questions
    were not in.
    """

    scores: Doubles
    errors: Doubles
    evidence: Doubles
    known: NDArray[np.float32]


@dataclass(frozen=True)
class Router:
    """A trained router. Immutable and thread-safe.

    models: m names
    categories: that of each model
    means: (m,), mean score of each model
    spreads: (m,), standard deviation of a model's scores, apart from how easy questions are
    counts: (m,), examples in which a model's score is known
    features: None for a router that always asks the best single model
    ensemble: None for that one, and for a router with a classifier
    classifier: forecasts the label as shares of `labels`; used when it gains most, or when the training data
        has labels only
    by_label: (l, m), mean score of each model under each label; None without scores, when a model's expected
        score is the share of its category
    """

    version: str
    models: tuple[str, ...]
    categories: tuple[str, ...]
    policy: Policy
    means: Doubles
    spreads: Doubles
    counts: Doubles
    features: TextFeatures | None = None
    ensemble: Ensemble | None = None
    classifier: MultiRidge | None = None
    labels: tuple[str, ...] = ()
    by_label: Doubles | None = None

    @property
    def best_single(self) -> str:
        """The model that answers when the router is in doubt."""
        return self.models[self.policy.best]

    def forecast(self, prompts: Sequence[str]) -> Forecast:
        """Return what to expect of each model on each prompt."""
        if self.features is None or (self.ensemble is None and self.classifier is None):
            shape = (len(prompts), len(self.models))
            counts = np.broadcast_to(self.counts, shape)
            errors = self.spreads / np.sqrt(counts + 1)
            return Forecast(
                np.broadcast_to(self.means, shape), errors, counts, np.ones(len(prompts), np.float32)
            )
        table, known = self.features.transform(prompts)
        if self.policy.scripts:
            known[[self.is_foreign(prompt) for prompt in prompts]] = 0.0
        if self.classifier is not None:
            shares = label_shares(self.classifier, table, self.features.dimensions)
            if self.by_label is not None:
                scores = shares @ self.by_label
            else:
                scores = _standing(shares, self.labels, self.categories, self.means)
            evidence = np.broadcast_to(self.counts, scores.shape)
        else:
            assert self.ensemble is not None  # noqa: S101  # one of the two is there
            differences, ease, evidence = self.ensemble.forecast(table)
            scores = np.clip(differences + ease[:, None], 0.0, 1.0)
        return Forecast(scores, self.spreads / np.sqrt(evidence + 1), evidence, known)

    def is_foreign(self, prompt: str) -> bool:
        """Return whether a prompt is in a script that hardly any training question was in."""
        return bool(self.policy.scripts) and script_of(prompt) not in (*self.policy.scripts, "")

    def utilities(self, prompts: Sequence[str]) -> Doubles:
        """Return the expected utility of each model on each prompt, (n, m)."""
        utilities: Doubles = self.forecast(prompts).scores - self.policy.charges(lengths_of(prompts))
        return utilities

    def decide_all(self, prompts: Sequence[str]) -> list[Decision]:
        """Return one decision per prompt, in their order."""
        decisions: list[Decision] = []
        for start in range(0, len(prompts), _CHUNK):
            part = prompts[start : start + _CHUNK]
            found, lengths = self.forecast(part), lengths_of(part)
            chosen, reasons = self.policy.choose(found.scores, found.evidence, found.known, lengths)
            confidences = self.policy.confidences(found.scores, chosen).tolist()
            decisions += [
                Decision(
                    self.models[model],
                    self.categories[model],
                    confidence,
                    reason,
                    self.version,
                    dict(zip(self.models, scores, strict=True)),
                )
                for model, confidence, reason, scores in zip(
                    chosen, confidences, reason_names(reasons), found.scores.tolist(), strict=True
                )
            ]
        return decisions

    def decide(self, prompt: str) -> Decision:
        """Return the decision for one prompt text."""
        return self.decide_all([prompt])[0]


def label_shares(classifier: MultiRidge, table: NDArray[np.float32], dimensions: int) -> Doubles:
    """Return the classifier's forecast of the label as shares of its labels, (n, l); rows sum to 1."""
    raw: Doubles = np.maximum(classifier.expected(ridge_table(table, dimensions)), 1e-6)
    shares: Doubles = raw / raw.sum(axis=1, keepdims=True)
    return shares


def _standing(shares: Doubles, labels: Sequence[str], categories: Sequence[str], means: Doubles) -> Doubles:
    """Return the share of each model's category in the forecast of the label, (n, m).

    Of the models of one category, only the one with the best mean gets the share, the others get 0.
    """
    scores = np.zeros((len(shares), len(categories)))
    for at, label in enumerate(labels):
        standing = [model for model, category in enumerate(categories) if category == label]
        if standing:
            scores[:, max(standing, key=lambda model: float(means[model]))] = shares[:, at]
    return scores


def state_arrays(router: Router) -> dict[str, NDArray[Any]]:
    """Return everything learned as arrays, by name."""
    found: dict[str, NDArray[Any]] = {
        "means": router.means,
        "spreads": router.spreads,
        "counts": router.counts,
    }
    if router.features is not None:
        found |= {f"features.{key}": value for key, value in router.features.arrays().items()}
    if router.ensemble is not None:
        found |= {f"ensemble.{key}": value for key, value in router.ensemble.arrays().items()}
    if router.classifier is not None:
        found |= {
            "classifier.coef_": router.classifier.coef_,
            "classifier.intercept_": router.classifier.intercept_,
        }
    if router.by_label is not None:
        found["by_label"] = router.by_label
    return found
