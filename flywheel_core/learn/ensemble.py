"""Several estimators of how models differ on a question, and a blend weighted by what each predicts unseen.

A ridge regression learns scores from the text features. Its cross-fitted forecasts (how easy the question is,
and how each model will do) become features of a forest, together with latent dimensions and measures of form.
Two cluster tables and a neighbour table see the latent dimensions alone. Non-negative least squares on
cross-fitted forecasts gives the weights.

The forest in service consists of the very trees that gave the cross-fitted forecasts, each grown without one
fold. Growing it again on all rows would cost as much again and gain nothing: what counts is how many trees
there are in all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from flywheel_core.learn import clusters, forest, linear, neighbours
from flywheel_core.learn.clusters import ClusterTable
from flywheel_core.learn.doubles import Doubles
from flywheel_core.learn.features import TextFeatures
from flywheel_core.learn.forest import LeafTables
from flywheel_core.learn.linear import MultiRidge
from flywheel_core.learn.neighbours import NeighbourTable
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.targets import means_of, restored, state_of

FOREST_DIMENSIONS = 60
FORM_SCALE = 0.1
"""Factor on the measures of form, so that the ridge uses both kinds of feature.

Each measure of form has a spread of 1, but the latent dimensions have a spread of 1 together.
"""
NEGLIGIBLE = 0.1
"""An estimator with no more than this share of the weight is left out: it costs time and adds nothing."""
_KINDS: Mapping[str, tuple[type[Any], tuple[str, ...]]] = {
    "ridge": (MultiRidge, linear.ARRAYS),
    "forest": (LeafTables, forest.ARRAYS),
    "few_clusters": (ClusterTable, clusters.ARRAYS),
    "many_clusters": (ClusterTable, clusters.ARRAYS),
    "neighbours": (NeighbourTable, neighbours.ARRAYS),
}


@dataclass(eq=False)
class Ensemble:
    """Fitted estimators and their weights.

    parts: name -> estimator; `ridge` and `few_clusters` are always there: ease and evidence come from these
    weights: name -> weight, > 0
    means: (m,), mean difference of each model
    dimensions: how many features are not measures of form
    latent: how many of those, from the first, are the latent dimensions that all estimators see
    """

    parts: Mapping[str, Any]
    weights: Mapping[str, float]
    means: Doubles
    dimensions: int
    latent: int

    def forecast(self, features: NDArray[np.float32]) -> tuple[Doubles, Doubles, Doubles]:
        """Return differences (n, m), ease (n,), and similar questions behind each difference (n, m).

        features: (n, d).
        """
        ridge = self.parts["ridge"].expected(ridge_table(features, self.dimensions))
        latent = latent_table(features, self.latent)
        blended = np.tile(self.means, (len(features), 1))
        for name, weight in self.weights.items():
            if name == "ridge":
                found = ridge[:, :-1]
            elif name == "forest":
                found = self.parts[name].expected(forest_table(features, self.latent, self.dimensions, ridge))
            else:
                found = self.parts[name].expected(latent)
            blended = blended + weight * (found - self.means)
        few = self.parts["few_clusters"]
        evidence = few.membership(latent) @ few.evidence_
        return blended, ridge[:, -1], evidence

    def compact(self, features: TextFeatures) -> TextFeatures:
        """Fold the ridge regression into the text features, so that a prompt needs few directions.

        Returns the smaller features, which the ensemble needs from then on.
        """
        ridge = self.parts["ridge"]
        kept, outputs = self.latent, ridge.coef_.shape[1]
        smaller = features.compact(kept, ridge.coef_[: self.dimensions])
        form = ridge.coef_[self.dimensions :]
        ridge.coef_ = np.concatenate([np.zeros((kept, outputs)), np.eye(outputs), form])
        self.dimensions = kept + outputs
        return smaller

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything learned: `means`, `dimensions`, `latent`, and each estimator's arrays and
        weight."""
        found: dict[str, NDArray[Any]] = {
            "means": self.means,
            "dimensions": np.asarray(self.dimensions),
            "latent": np.asarray(self.latent),
        }
        for name, part in self.parts.items():
            found[f"{name}.weight"] = np.asarray(self.weights.get(name, 0.0))
            found |= {f"{name}.{key}": value for key, value in state_of(part, _KINDS[name][1]).items()}
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild the ensemble from `arrays`. Raises KeyError when one is missing."""
        parts, weights = {}, {}
        for name, (kind, keys) in _KINDS.items():
            if f"{name}.weight" in arrays:
                parts[name] = restored(kind, keys, {key: arrays[f"{name}.{key}"] for key in keys})
                weight = float(arrays[f"{name}.weight"])
                if weight > 0:
                    weights[name] = weight
        return cls(parts, weights, arrays["means"], int(arrays["dimensions"]), int(arrays["latent"]))


def ridge_table(features: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """Return what the ridge regression sees: all features, the measures of form scaled by `FORM_SCALE`."""
    table = features.copy()
    table[:, dimensions:] *= FORM_SCALE
    return table


def latent_table(features: NDArray[np.float32], latent: int) -> NDArray[np.float32]:
    """Return what cluster tables and neighbours see: the latent dimensions, each row scaled to length 1."""
    part = features[:, :latent]
    result: NDArray[np.float32] = part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-9)
    return result


def forest_table(
    features: NDArray[np.float32], latent: int, dimensions: int, ridge: Doubles
) -> NDArray[np.float32]:
    """Return what the forest sees: latent dimensions, form, and the ridge's differences, ease and scores."""
    size = features.shape[1] - dimensions
    models = ridge.shape[1] - 1
    table = np.empty((len(features), latent + size + 2 * models + 1), np.float32)
    table[:, :latent] = features[:, :latent]
    table[:, latent : latent + size] = features[:, dimensions:]
    table[:, latent + size : latent + size + models + 1] = ridge
    table[:, latent + size + models + 1 :] = ridge[:, :-1] + ridge[:, -1:]
    return table


def fit_ensemble(
    features: NDArray[np.float32],
    differences: Doubles,
    ease: Doubles,
    weights: Doubles,
    folds: NDArray[np.int64],
    dimensions: int,
    settings: Learning,
) -> tuple[Ensemble, dict[str, Doubles], Doubles, Doubles]:
    """Return the ensemble and the cross-fitted differences (n, m), ease (n,) and evidence (n, m).

    The differences are those of each estimator and of the `blend`, by name. features (n, d); differences (n,
    m), NaN where missing; ease, weights, folds (n,). Deterministic.
    """
    kept = min(dimensions, FOREST_DIMENSIONS)
    ridge_in, latent = ridge_table(features, dimensions), latent_table(features, kept)
    wanted = np.column_stack([differences, ease])
    ridge, alpha = _crossed_ridge(ridge_in, wanted, weights, folds)
    forest_in = forest_table(features, kept, dimensions, ridge)
    tables = {"forest": forest_in, "few_clusters": latent, "many_clusters": latent, "neighbours": latent}
    crossed: dict[str, Doubles] = {"ridge": ridge[:, :-1]}
    evidence = np.zeros_like(differences)
    forests: list[LeafTables] = []
    numbers = np.unique(folds)
    trees = -(-settings.trees // len(numbers))
    for number, fold in enumerate(numbers):
        inside, outside = folds != fold, folds == fold
        for name, table in tables.items():
            if name == "forest":
                part = LeafTables(trees, random_state=_seed(settings, number), n_jobs=settings.jobs)
                forests.append(part)
            else:
                part = _fresh(name, settings)
            part.fit(table[inside], differences[inside], weights[inside])
            crossed.setdefault(name, np.zeros_like(differences))[outside] = part.expected(table[outside])
            if name == "few_clusters":
                evidence[outside] = part.membership(table[outside]) @ part.evidence_
    centre = means_of(differences, weights)
    shares = blend_weights(crossed, differences, weights, centre)
    crossed["blend"] = centre + sum(
        (share * (crossed[name] - centre) for name, share in shares.items()), np.zeros_like(differences)
    )
    parts: dict[str, Any] = {"ridge": MultiRidge(alphas=(alpha,)).fit(ridge_in, wanted, weights)}
    for name, table in tables.items():
        if name == "forest" and name in shares:
            parts[name] = LeafTables.joined(forests)
        elif name in shares or name == "few_clusters":
            parts[name] = _fresh(name, settings).fit(table, differences, weights)
    return Ensemble(parts, shares, centre, dimensions, kept), crossed, ridge[:, -1], evidence


def blend_weights(
    crossed: Mapping[str, Doubles], differences: Doubles, weights: Doubles, means: Doubles
) -> dict[str, float]:
    """Return the weight (> 0) of each estimator worth keeping; empty when none is.

    The weights are the non-negative least squares fit of the cross-fitted forecasts to the differences.
    """
    seen = ~np.isnan(differences)
    root = np.broadcast_to(np.sqrt(weights)[:, None], seen.shape)[seen]
    target = (differences - means)[seen] * root
    names = list(crossed)
    while names:
        columns = np.stack([(crossed[name] - means)[seen] * root for name in names], axis=1)
        # QR turns this into the same least squares problem with only a few rows.
        triangle: Any = np.linalg.qr(np.column_stack([columns, target]), mode="r")
        found, _ = nnls(triangle[:, :-1], triangle[:, -1])
        kept = [name for name, weight in zip(names, found, strict=True) if weight > NEGLIGIBLE * found.sum()]
        if kept == names:
            return dict(zip(names, map(float, found), strict=True))
        names = kept
    return {}


def _crossed_ridge(
    table: NDArray[np.float32], wanted: Doubles, weights: Doubles, folds: NDArray[np.int64]
) -> tuple[Doubles, float]:
    """Return cross-fitted forecasts, and the penalty that cross-validation chose for the differences."""
    alpha = MultiRidge().fit(table, wanted[:, :-1], weights, groups=folds).alpha_
    crossed = np.zeros_like(wanted)
    for fold in np.unique(folds):
        inside, outside = folds != fold, folds == fold
        part = MultiRidge(alphas=(alpha,)).fit(table[inside], wanted[inside], weights[inside])
        crossed[outside] = part.expected(table[outside])
    return crossed, alpha


def _fresh(name: str, settings: Learning) -> Any:
    seed = settings.seed
    if name == "neighbours":
        return NeighbourTable(rows=settings.reference_rows, random_state=seed)
    return ClusterTable(clusters=20 if name == "few_clusters" else 100, random_state=seed)


def _seed(settings: Learning, number: int) -> int:
    return (settings.seed + number) % 2**32
