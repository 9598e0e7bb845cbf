"""The classifier of labels: alone, as a router from texts and labels, and as a candidate of `train.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # it ships no types

from flywheel_core.errors import NoDataError
from flywheel_core.learn.doubles import Doubles
from flywheel_core.learn.ensemble import ridge_table
from flywheel_core.learn.examples import Examples
from flywheel_core.learn.familiar import least_known
from flywheel_core.learn.features import TextFeatures
from flywheel_core.learn.linear import MultiRidge
from flywheel_core.learn.policy import Policy, fit_confidence
from flywheel_core.learn.router import Router, label_shares
from flywheel_core.learn.scripts import scripts_of
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.targets import means_of, shrunken_table
from flywheel_core.learn.text import question_group

FOLDS = 5
"""Folds of the cross-validation that confidence is fitted with."""
SHRINKAGE = 20.0
"""Weight, in examples, of a model's mean over all labels in its mean under one label.

It is the same as in the cluster tables.
"""


@dataclass(frozen=True)
class Trained:
    """A router and how it came about.

    figures: such as the number of examples, the weights of the blend, and the cross-fitted gains of the
    candidates.
    """

    router: Router
    figures: Mapping[str, Any]


def train_labels(
    texts: Sequence[str],
    labels: Sequence[str],
    models: Mapping[str, str],
    settings: Learning,
    *,
    version: str,
    groups: Sequence[str] | NDArray[np.str_] | None = None,
) -> Trained:
    """Train a router from texts and labels alone, as a classifier.

    models: model -> category, in order of preference. groups: the `question_group` of each text, found from
    the texts by default. The router's expected scores are the shares of the categories. Raises NoDataError
    when no text has the category of a model as its label.
    """
    kept = sorted(set(labels) & set(models.values()))
    rows = [row for row, label in enumerate(labels) if label in kept]
    if not rows:
        raise NoDataError(
            "there is no text whose label is the category of a model",
            hint="labels must be among the categories of the models in the configuration",
        )
    groups = [question_group(text) for text in texts] if groups is None else groups
    used, used_groups = [texts[row] for row in rows], [groups[row] for row in rows]
    wanted = np.array([labels[row] for row in rows], dtype=object)
    standing = {category: model for model, category in reversed(list(models.items()))}
    names = tuple(standing[label] for label in kept)
    with threadpool_limits(limits=1):
        features = TextFeatures.fit(
            used, dimensions=settings.dimensions, rows=settings.feature_rows, seed=settings.seed
        )
        table, _ = features.transform(used, jobs=settings.jobs)
        classifier = _label_classifier(table, features.dimensions, wanted, kept, np.ones(len(used)))
        unseen = _unseen_shares(used_groups, table, features.dimensions, wanted, kept)
    shares = np.array([(wanted == label).mean() for label in kept])
    policy = Policy(
        best=int(shares.argmax()),
        prices=(0.0,) * len(names),
        costs=(0.0,) * len(names),
        advantage=0.0,
        tie_tolerance=0.0,
        min_evidence=0.0,
        known_share=least_known(features, used, used_groups, rows=settings.feature_rows, seed=settings.seed),
        always_single=len(kept) == 1,
        confidence=fit_confidence(
            unseen,
            _membership(wanted, kept),
            unseen.argmax(axis=1),
            np.ones(len(used)),
            settings.confidence_tolerance,
        ),
        scripts=scripts_of(used, min(settings.min_evidence, len(used) / 40)),
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


def _label_classifier(
    table: NDArray[np.float32], dimensions: int, wanted: NDArray[Any], labels: Sequence[str], weights: Doubles
) -> MultiRidge:
    """Fit least squares to one column per label; its forecasts are close to the labels' shares."""
    return MultiRidge().fit(ridge_table(table, dimensions), _membership(wanted, labels), weights)


def _membership(wanted: NDArray[Any], labels: Sequence[str]) -> Doubles:
    """Return 1 where a row has the label and 0 elsewhere, (n, l)."""
    found: Doubles = (wanted[:, None] == np.array(labels, dtype=object)).astype(float)
    return found


def _unseen_shares(
    groups: Sequence[str],
    table: NDArray[np.float32],
    dimensions: int,
    wanted: NDArray[Any],
    labels: Sequence[str],
) -> Doubles:
    """Return shares of the labels, (n, l), each row's from a classifier that saw neither it nor its like.

    groups: of the rows, as `question_group` returns them; a group is in one fold.
    """
    folds = np.array([int(group[:12], 16) % FOLDS for group in groups])
    shares = np.full((len(groups), len(labels)), 1 / len(labels))
    for fold in np.unique(folds):
        inside, outside = folds != fold, folds == fold
        if inside.any():
            weights = np.ones(int(inside.sum()))
            classifier = _label_classifier(table[inside], dimensions, wanted[inside], labels, weights)
            shares[outside] = label_shares(classifier, table[outside], dimensions)
    return shares


def _scores_by_label(
    wanted: NDArray[Any], labels: Sequence[str], differences: Doubles, ease: Doubles, weights: Doubles
) -> Doubles:
    """Return the mean score (0..1) of each model under each label, (l, m), shrunken.

    The means are shrunken towards the model's mean over all labels. wanted: (n,), labels; differences (n, m),
    NaN where missing, and ease (n,), as `split_scores` returns them; weights (n,).
    """
    targets = np.column_stack([differences, ease])
    means = means_of(targets, weights)
    found = means + shrunken_table(_membership(wanted, labels), targets, weights, means, SHRINKAGE)[0]
    return np.clip(found[:, :-1] + found[:, -1:], 0.0, 1.0)


def crossed_labels(
    examples: Examples,
    categories: Sequence[str],
    differences: Doubles,
    ease: Doubles,
    table: NDArray[np.float32],
    dimensions: int,
    folds: NDArray[np.int64],
) -> tuple[dict[str, Any], Doubles] | None:
    """Return what a router needs to forecast labels, and its cross-fitted scores (n, m).

    categories: those of the models; differences (n, m) and ease (n,): as `split_scores` returns them; table:
    the features of the texts; folds: (n,). None with fewer than two labels, or when some fold leaves no
    labelled example to learn from.
    """
    wanted, weights = np.array(examples.labels, dtype=object), examples.weights
    kept = sorted({label for label in examples.labels if label is not None and label in categories})
    if len(kept) < 2:
        return None

    def fitted(rows: NDArray[np.bool_]) -> tuple[MultiRidge, Doubles]:
        return (
            _label_classifier(table[rows], dimensions, wanted[rows], kept, weights[rows]),
            _scores_by_label(wanted[rows], kept, differences[rows], ease[rows], weights[rows]),
        )

    labelled = np.isin(wanted, kept)
    scores = np.zeros_like(differences)
    for fold in np.unique(folds):
        inside, outside = labelled & (folds != fold), folds == fold
        if not inside.any():
            return None
        classifier, by_label = fitted(inside)
        scores[outside] = label_shares(classifier, table[outside], dimensions) @ by_label
    classifier, by_label = fitted(labelled)
    return {"classifier": classifier, "labels": tuple(kept), "by_label": by_label}, scores
