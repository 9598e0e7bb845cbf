"""A router from texts and labels alone: the classifier of categories that a `{"text", "label"}` file trains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # it ships no types

from flywheel_core.errors import NoDataError
from flywheel_core.learn.ensemble import ridge_table
from flywheel_core.learn.familiar import least_known
from flywheel_core.learn.features import TextFeatures
from flywheel_core.learn.linear import MultiRidge
from flywheel_core.learn.policy import Policy, fit_confidence
from flywheel_core.learn.router import Router, label_shares
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.targets import Doubles, means_of, shrunken_table
from flywheel_core.learn.text import question_group

FOLDS = 5
"""Folds of the cross-validation that confidence is set by."""
SHRINKAGE = 20.0
"""Examples of a label that a model's mean over all labels weighs, as in the cluster tables."""


@dataclass(frozen=True)
class Trained:
    """A router and how it came about; figures: examples, weights of the blend, cross-fitted gains of the candidates."""

    router: Router
    figures: Mapping[str, Any]


def train_labels(
    texts: Sequence[str],
    labels: Sequence[str],
    models: Mapping[str, str],
    settings: Learning,
    *,
    version: str,
) -> Trained:
    """A router from texts and labels alone, as a classifier is trained. models: model -> category, in order of preference.

    Its expected scores are the shares of the categories. Raises NoDataError without texts, or when no label is the category
    of a model.
    """
    kept = sorted(set(labels) & set(models.values()))
    rows = [row for row, label in enumerate(labels) if label in kept]
    if not rows:
        raise NoDataError(
            "there is no text whose label is the category of a model",
            hint="labels must be among the categories of the models in the configuration",
        )
    used, wanted = [texts[row] for row in rows], np.array([labels[row] for row in rows], dtype=object)
    standing = {category: model for model, category in reversed(list(models.items()))}
    names = tuple(standing[label] for label in kept)
    with threadpool_limits(limits=1):
        features = TextFeatures.fit(
            used, dimensions=settings.dimensions, rows=settings.feature_rows, seed=settings.seed
        )
        table, _ = features.transform(used, jobs=settings.jobs)
        classifier = label_classifier(table, features.dimensions, wanted, kept, np.ones(len(used)))
        unseen = _unseen_shares(used, table, features.dimensions, wanted, kept)
    shares = np.array([(wanted == label).mean() for label in kept])
    policy = Policy(
        best=int(shares.argmax()),
        prices=(0.0,) * len(names),
        costs=(0.0,) * len(names),
        advantage=0.0,
        tie_tolerance=0.0,
        min_evidence=0.0,
        known_share=least_known(features, used, rows=settings.feature_rows, seed=settings.seed),
        always_single=len(kept) == 1,
        confidence=fit_confidence(
            unseen,
            _membership(wanted, kept),
            unseen.argmax(axis=1),
            np.ones(len(used)),
            settings.confidence_tolerance,
        ),
    )
    router = Router(
        version=version,
        models=names,
        categories=tuple(kept),
        policy=policy,
        means=shares,
        spreads=np.sqrt(shares * (1 - shares)),
        counts=shares * len(used),
        features=features,
        classifier=classifier,
        labels=tuple(kept),
    )
    return Trained(
        router,
        {
            "candidate": "labels",
            "examples": len(used),
            "labels": dict(zip(kept, shares.tolist(), strict=True)),
        },
    )


def label_classifier(
    table: NDArray[np.float32], dimensions: int, wanted: NDArray[Any], labels: Sequence[str], weights: Doubles
) -> MultiRidge:
    """Least squares on one column a label: its forecasts are the labels' shares, near enough."""
    return MultiRidge().fit(ridge_table(table, dimensions), _membership(wanted, labels), weights)


def _membership(wanted: NDArray[Any], labels: Sequence[str]) -> Doubles:
    """1 where a row's label is this one, else 0, (n, l)."""
    found: Doubles = (wanted[:, None] == np.array(labels, dtype=object)).astype(float)
    return found


def _unseen_shares(
    texts: Sequence[str],
    table: NDArray[np.float32],
    dimensions: int,
    wanted: NDArray[Any],
    labels: Sequence[str],
) -> Doubles:
    """Shares of the labels, (n, l), each row's by a classifier that has not seen it nor a text that is alike."""
    folds = np.array([int(question_group(text)[:12], 16) % FOLDS for text in texts])
    shares = np.full((len(texts), len(labels)), 1 / len(labels))
    for fold in np.unique(folds):
        inside, outside = folds != fold, folds == fold
        if inside.any():
            weights = np.ones(int(inside.sum()))
            classifier = label_classifier(table[inside], dimensions, wanted[inside], labels, weights)
            shares[outside] = label_shares(classifier, table[outside], dimensions)
    return shares


def scores_by_label(
    wanted: NDArray[Any], labels: Sequence[str], differences: Doubles, ease: Doubles, weights: Doubles
) -> Doubles:
    """Mean score (0..1) of each model on questions of each label, (l, m), shrunken to its mean over all of them.

    wanted: (n,) labels; differences (n, m) with NaN for missing, and ease (n,), as `split_scores` gives them; weights (n,).
    """
    targets = np.column_stack([differences, ease])
    means = means_of(targets, weights)
    found = means + shrunken_table(_membership(wanted, labels), targets, weights, means, SHRINKAGE)[0]
    return np.clip(found[:, :-1] + found[:, -1:], 0.0, 1.0)
