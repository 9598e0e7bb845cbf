"""Training examples as arrays: texts, what each model scored, cost and took, and how much each example weighs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flywheel_core.errors import DatasetError, NoDataError
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.targets import Doubles
from flywheel_core.learn.text import question_group

COLUMNS = ("text", "outcomes")
FEWEST_ANSWERS = 20
"""A model with fewer answers in the window is no candidate."""

IN_USE = pl.col("left_out").is_null() | (pl.col("left_out") == "unlabelled")
"""Rows of a dataset's `examples.parquet` that scores are learned of."""


@dataclass(frozen=True)
class Examples:
    """n examples and m models, in order of name.

    scores: (n, m), 0..1, a model's own failure counts as `failure_score`, NaN where nothing is known; costs: (n, m), in
    currency; waits: (n, m), s; weights: (n,), > 0; groups: the same for questions that are alike but for case, white space and
    digits; labels: category or None; days: ordinals, 0 where unknown; answers: what the models answered, one text an example,
    None where unknown: known in training only; asked: (n, m), the probability with which each model was asked, above 0 to 1,
    None where all were asked for certain.
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

    def __len__(self) -> int:
        return len(self.texts)

    def folds(self, count: int) -> NDArray[np.int64]:
        """A fold number 0..count-1 for each example; those of one group share theirs."""
        return np.array([int(group[:12], 16) % count for group in self.groups], dtype=np.int64)

    def utilities(self, settings: Learning) -> Doubles:
        """Utility of each answer, (n, m), NaN where its score is; an unknown cost or wait counts as the model's mean, that of
        a model of which none is known as the dearest model's."""
        utilities = self.scores.copy()
        for factor, paid in ((settings.lambda_cost, self.costs), (settings.lambda_latency, self.waits)):
            if factor:
                utilities -= factor * filled(paid)
        return utilities

    def pick(self, rows: NDArray[Any], models: Sequence[str] | None = None) -> Self:
        """These rows (numbers) and models; models of which nothing is known are NaN throughout."""
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
        )


def read_examples(frame: pl.DataFrame, settings: Learning, *, split: str | None = None) -> Examples:
    """Examples of a frame with `text` and `outcomes` (list of struct: model, score, failed, cost, latency_ms and perhaps
    failures, scored, asked), and perhaps `label`, `split`, `weight`, `day`, `left_out` and `answers` (text).

    Only rows of `split`, if given; outcomes with neither a score nor a failure are left out, and rows that the dataset has
    left out, but not for want of a label: a model's failures would not count where too few others have a score.
    Raises DatasetError when a needed column is missing.
    """
    missing = [name for name in (*COLUMNS, *(["split"] if split else [])) if name not in frame.columns]
    if missing:
        raise DatasetError(f"the examples have no column {', '.join(missing)}")
    if split is not None:
        frame = frame.filter(pl.col("split") == split)
    if "left_out" in frame.columns:
        frame = frame.filter(IN_USE)
    flat = _outcomes(frame, settings)
    models = tuple(sorted(flat["model"].unique().to_list()))
    number = {model: at for at, model in enumerate(models)}
    rows, columns = (
        flat["row"].to_numpy(),
        np.array([number[model] for model in flat["model"]], dtype=np.intp),
    )
    tables: dict[str, Doubles] = {}
    for name in ("score", "cost", "wait", "asked"):
        table = np.full((frame.height, len(models)), np.nan)
        table[rows, columns] = flat[name].to_numpy()
        tables[name] = table
    texts = frame["text"].to_list()
    days = _days(frame)
    weights = (
        frame["weight"].cast(pl.Float64).to_numpy() if "weight" in frame.columns else np.ones(len(texts))
    )
    if settings.half_life_days is not None and len(days):
        weights = weights * 0.5 ** ((days.max() - days) / settings.half_life_days)
    labels = frame["label"].to_list() if "label" in frame.columns else [None] * len(texts)
    groups = np.array([question_group(text) for text in texts], dtype=np.str_)
    answers = frame["answers"].to_list() if "answers" in frame.columns else None
    return Examples(
        texts,
        models,
        tables["score"],
        tables["cost"],
        tables["wait"],
        weights,
        groups,
        labels,
        days,
        answers,
        np.nan_to_num(tables["asked"], nan=1.0) if (tables["asked"] < 1).any() else None,
    )


def trainable(examples: Examples, settings: Learning, allowed: Sequence[str] | None) -> Examples:
    """The models that may be chosen, on the examples on which one of them is known. allowed: those that may be, all if None.

    Raises NoDataError when nothing is left.
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
            f"there is nothing to train on: {len(examples)} examples, none with an answer of a model that may be chosen",
            hint="collect and score answers first, or look at which models the configuration has",
        )
    return kept.pick(rows)


def usual(table: Doubles) -> Doubles:
    """Mean of each column over what is known; where nothing of it is, the largest of them: the unknown is not cheap."""
    seen = ~np.isnan(table)
    means: Doubles = np.nan_to_num(table).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return np.where(seen.any(axis=0), means, means.max(initial=0.0))


def filled(table: Doubles) -> Doubles:
    """The same with what is `usual` of its column where it is unknown, 0 where nothing is known at all."""
    return np.where(np.isnan(table), usual(table), table)


def _outcomes(frame: pl.DataFrame, settings: Learning) -> pl.DataFrame:
    """Columns row, model, score, cost, wait, asked: one row an outcome with something known, in order."""
    rows = (
        frame.select(pl.int_range(pl.len()).alias("row"), "outcomes")
        .explode("outcomes")
        .drop_nulls("outcomes")
    )
    flat = rows.unnest("outcomes")
    if "failures" in flat.columns and "scored" in flat.columns:
        known, failed = pl.col("scored").cast(pl.Float64), pl.col("failures").cast(pl.Float64)
    else:
        known = pl.col("score").is_not_null().cast(pl.Float64)
        failed = pl.col("failed").fill_null(False).cast(pl.Float64)
    gained = pl.col("score").fill_null(0.0) * known + settings.failure_score * failed
    return flat.select(
        "row",
        "model",
        pl.when(known + failed > 0).then(gained / (known + failed)).cast(pl.Float64).alias("score"),
        pl.col("cost").cast(pl.Float64).alias("cost"),
        (pl.col("latency_ms").cast(pl.Float64) / 1_000).alias("wait"),
        (pl.col("asked").cast(pl.Float64) if "asked" in flat.columns else pl.lit(1.0)).alias("asked"),
    ).filter(pl.col("score").is_not_null() & pl.col("model").is_not_null())


def _days(frame: pl.DataFrame) -> NDArray[np.int64]:
    if "day" not in frame.columns:
        return np.zeros(frame.height, dtype=np.int64)
    days = [day.toordinal() if isinstance(day, date) else 0 for day in frame["day"].to_list()]
    return np.array(days, dtype=np.int64)


def _columns(table: Doubles, names: Sequence[str], wanted: Sequence[str]) -> Doubles:
    known = {name: at for at, name in enumerate(names)}
    empty = np.full(len(table), np.nan)
    return np.column_stack(
        [table[:, known[name]] if name in known else empty for name in wanted] or [empty[:, None][:, :0]]
    )
