"""Reads training examples from the rows of a dataset."""

from collections.abc import Collection
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flywheel_core.errors import DatasetError
from flywheel_core.learn.doubles import Doubles
from flywheel_core.learn.examples import Examples
from flywheel_core.learn.excerpts import texts_and_groups
from flywheel_core.learn.settings import Learning

COLUMNS = ("text", "outcomes")


def read_examples(
    frame: pl.DataFrame,
    settings: Learning,
    *,
    models: Collection[str] | None = None,
) -> Examples:
    """Read examples from a frame with a row per question.

    The frame has `text` and `outcomes` (list of struct: model, score, failed, cost, latency_ms, optionally
    failures, scored, asked), and optionally `id` or `data_point_id`, `label`, `weight`, `day`, `for_scores` and
    `answers` (text). Rows that are not for scores are skipped, and so are outcomes with neither a score nor a
    failure. With `models`, outcomes of other models are skipped: each model is a column, so names that a source
    invents would cost memory without bound.

    Failures are skipped as well where a question has answers but no score, as during an outage of the scorer:
    only the failures would be known, and a model that rarely fails would look like one that always does. If no
    question has a score, all failures are skipped.

    Raises DatasetError when a needed column is missing.
    """
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise DatasetError(f"the examples have no column {', '.join(missing)}")
    frame = for_scores(frame)
    flat = _outcomes(frame, settings)
    by_chance = bool((flat["asked"] < 1).any())
    if models is not None:
        flat = flat.filter(pl.col("model").is_in(list(models)))
    names = tuple(sorted(flat["model"].unique().to_list()))
    number = {model: at for at, model in enumerate(names)}
    rows, columns = (
        flat["row"].to_numpy(),
        np.array([number[model] for model in flat["model"]], dtype=np.intp),
    )
    tables: dict[str, Doubles] = {}
    for name in ("score", "cost", "wait", "asked"):
        table = np.full((frame.height, len(names)), np.nan)
        table[rows, columns] = flat[name].to_numpy()
        tables[name] = table
    texts, groups = texts_and_groups(frame)
    days = _days(frame)
    weights = (
        frame["weight"].cast(pl.Float64).to_numpy() if "weight" in frame.columns else np.ones(len(texts))
    )
    if settings.half_life_days is not None and len(days):
        weights = weights * 0.5 ** ((days.max() - days) / settings.half_life_days)
    labels = frame["label"].to_list() if "label" in frame.columns else [None] * len(texts)
    answers = frame["answers"].to_list() if "answers" in frame.columns else None
    return Examples(
        texts,
        names,
        tables["score"],
        tables["cost"],
        tables["wait"],
        weights,
        groups,
        labels,
        days,
        answers,
        np.nan_to_num(tables["asked"], nan=1.0) if by_chance else None,
        next((frame[name] for name in ("id", "data_point_id") if name in frame.columns), None),
    )


def for_scores(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that scores are learned from; all of them if they do not say.

    Datasets of format 3 have no `for_scores`: there they are those that no cap left out.
    """
    if "for_scores" in rows.columns:
        return rows.filter("for_scores")
    if "left_out" in rows.columns:
        return rows.filter(pl.col("left_out").ne_missing("group_cap"))
    return rows


def _outcomes(frame: pl.DataFrame, settings: Learning) -> pl.DataFrame:
    """Return columns row, model, score, cost, wait, asked, in order.

    There is one row per outcome that has a score or is a failure.
    """
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
    times = pl.col("times").cast(pl.Float64) if "times" in flat.columns else pl.lit(1.0)
    gained = pl.col("score").fill_null(0.0) * known + settings.failure_score * failed
    scored = (known > 0).any()
    compared = scored & (scored.over("row") | (times <= known + failed).all().over("row"))
    return (
        flat.filter(compared)
        .select(
            "row",
            "model",
            pl.when(known + failed > 0).then(gained / (known + failed)).cast(pl.Float64).alias("score"),
            pl.col("cost").cast(pl.Float64).alias("cost"),
            (pl.col("latency_ms").cast(pl.Float64) / 1_000).alias("wait"),
            (pl.col("asked").cast(pl.Float64) if "asked" in flat.columns else pl.lit(1.0)).alias("asked"),
        )
        .filter(pl.col("score").is_not_null() & pl.col("model").is_not_null())
    )


def _days(frame: pl.DataFrame) -> NDArray[np.int64]:
    if "day" not in frame.columns:
        return np.zeros(frame.height, dtype=np.int64)
    days = [day.toordinal() if isinstance(day, date) else 0 for day in frame["day"].to_list()]
    return np.array(days, dtype=np.int64)
