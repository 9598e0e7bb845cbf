"""Training examples as arrays: texts, each model's scores, costs and waits, and each example's weight."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flywheel_core.errors import NoDataError
from flywheel_core.learn.alike import alike, parts
from flywheel_core.learn.doubles import Doubles
from flywheel_core.learn.settings import Learning

FEWEST_ANSWERS = 20
"""A model with fewer answers in the window cannot be chosen, unless no model has this many."""


@dataclass(frozen=True)
class Examples:
    """n examples and m models, the models in order of name.

    scores: (n, m), 0..1, NaN where unknown; a model's own failure counts as `failure_score`
    costs: (n, m), in currency
    waits: (n, m), s
    weights: (n,), >= 0
    groups: (n,), equal for questions that differ only in case, white space and digits
    labels: category or None
    days: ordinals, 0 where unknown
    answers: what the models answered, one text per example, None where unknown; only training uses it
    asked: (n, m), the probability, above 0 and up to 1, with which each model was asked; None when all were
        asked with certainty
    ids: of the questions' first data points; None where the source has none
    """

    texts: list[str]
    models: tuple[str, ...]
    scores: Doubles
    costs: Doubles
    waits: Doubles
    weights: Doubles
    groups: NDArray[np.str_]
    labels: list[str | None]
    days: NDArray[np.int64]
    answers: list[str | None] | None = None
    asked: Doubles | None = None
    ids: pl.Series | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def folds(self, count: int) -> NDArray[np.int64]:
        """Return a fold number 0..count-1 for each example; examples of a group or of a bunch share theirs.

        Bunches are those of `alike`, in as many parts as `parts` gives.
        """
        names, first, own = np.unique(self.groups, return_index=True, return_inverse=True)
        bunches = alike([self.texts[row] for row in first])
        hashes = np.array([int(name[:12], 16) for name in names], dtype=np.int64)
        return ((hashes[bunches] + parts(bunches)) % count)[own]

    def utilities(self, settings: Learning) -> Doubles:
        """Return the utility of each answer, (n, m), NaN where its score is.

        An unknown cost or wait counts as the model's mean; for a model without any known one, as the largest
        of the models' means.
        """
        utilities = self.scores.copy()
        for factor, paid in ((settings.lambda_cost, self.costs), (settings.lambda_latency, self.waits)):
            if factor:
                utilities -= factor * filled(paid)
        return utilities

    def pick(self, rows: NDArray[Any], models: Sequence[str] | None = None) -> Self:
        """Return these rows (numbers) and models; a model that is not in `self.models` is NaN throughout."""
        names = self.models if models is None else tuple(models)
        return type(self)(
            [self.texts[row] for row in rows],
            names,
            _columns(self.scores[rows], self.models, names),
            _columns(self.costs[rows], self.models, names),
            _columns(self.waits[rows], self.models, names),
            self.weights[rows],
            self.groups[rows],
            [self.labels[row] for row in rows],
            self.days[rows],
            None if self.answers is None else [self.answers[row] for row in rows],
            None
            if self.asked is None
            else np.nan_to_num(_columns(self.asked[rows], self.models, names), nan=1.0),
            None if self.ids is None else self.ids[rows],
        )


def trainable(examples: Examples, settings: Learning, allowed: Sequence[str] | None) -> Examples:
    """Return the models that may be chosen, and the examples in which at least one of them is known.

    A model needs enough answers (see `FEWEST_ANSWERS`), one of them in the last `absent_days`, and to be
    among `allowed`, if that is given. Raises NoDataError when nothing is left.
    """
    answers = (~np.isnan(examples.scores)).sum(axis=0)
    recent = examples.days > (examples.days.max(initial=0) - settings.absent_days)
    still = (~np.isnan(examples.scores[recent])).any(axis=0) if len(examples) else answers > 0
    fewest = min(FEWEST_ANSWERS, int(answers.max(initial=0)))
    names = [
        model
        for model, count, present in zip(examples.models, answers, still, strict=True)
        if count >= max(1, fewest) and present and (allowed is None or model in allowed)
    ]
    kept = examples.pick(np.arange(len(examples)), names)
    rows = np.flatnonzero((~np.isnan(kept.scores)).any(axis=1) & (kept.weights > 0))
    if not names or not len(rows):
        raise NoDataError(
            f"there is nothing to train on: {len(examples)} examples, none with a scored answer of a model that may be chosen",
            hint="collect and score answers first (flywheel rescore DAY gets scores that are missing), or look at which models the configuration has",
        )
    return kept.pick(rows)


def usual(table: Doubles) -> Doubles:
    """Return each column's mean over its known values.

    A column without any gets the largest of the means: the unknown is not assumed to be cheap.
    """
    seen = ~np.isnan(table)
    means: Doubles = np.nan_to_num(table).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return np.where(seen.any(axis=0), means, means.max(initial=0.0))


def filled(table: Doubles) -> Doubles:
    """Return the table with `usual` in place of unknown values, 0 where the whole table is unknown."""
    return np.where(np.isnan(table), usual(table), table)


def _columns(table: Doubles, names: Sequence[str], wanted: Sequence[str]) -> Doubles:
    known = {name: at for at, name in enumerate(names)}
    empty = np.full(len(table), np.nan)
    return np.column_stack(
        [table[:, known[name]] if name in known else empty for name in wanted] or [empty[:, None][:, :0]]
    )
