"""The figures of the report over some days, added up exactly from the days' own tables.

The records are in `flywheel_core/report/facts.py`; how the report looks is in `flywheel_core/report/html.py`.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl

from flywheel_core.errors import NoDataError
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import query_table, read_table
from flywheel_core.report.facts import MAX_REJECTS, LabelFacts, ModelFacts, RejectFacts, Summary

MARGIN_BINS = 10


def summarise(layout: Layout, days: Sequence[date]) -> Summary:
    """Return the figures of those of `days` that were labelled.

    Raises NoDataError when none was, StorageError when a table cannot be read.
    """
    labelled_days = sorted(set(days) & set(layout.table_days("quality_report")))
    if not labelled_days:
        raise NoDataError(
            f"none of these days was labelled in {layout.tables.absolute()}",
            hint="run flywheel ingest and flywheel label first; --data-dir names another data folder",
        )
    quality = read_table(layout, "quality_report", labelled_days)
    distribution = read_table(layout, "label_distribution", labelled_days)
    labels = _labels(distribution)
    labelled = sum(row.examples for row in labels)
    models = _models(layout, labelled_days)
    rules = _sums(quality, "rule")
    spend = {metric: sum(_sums(quality, metric).values()) for metric in ("model_cost", "scorer_cost")}
    rejects_by_code = _counts(_sums(quality, "rejected_by_code"))
    return Summary(
        days=tuple(labelled_days),
        lines=int(_sums(quality, "lines").get("", 0)),
        points=int(_sums(quality, "points").get("", 0)),
        duplicates=int(_sums(quality, "duplicates").get("", 0)),
        labelled=labelled,
        responses=sum(model.responses for model in models),
        failed=int(_sums(quality, "failed_responses").get("", 0)),
        scored=sum(model.scored for model in models),
        mean_best_score=_weighted([(row.mean_score, row.examples) for row in labels]),
        min_best_score=_values(quality, "score_min").min(),  # type: ignore[arg-type]  # a column of floats has a float or null
        max_best_score=_values(quality, "score_max").max(),  # type: ignore[arg-type]  # the same
        ties=int(_sums(quality, "ties").get("", 0)),
        labels=tuple(labels),
        labels_by_day=_by_day(distribution, [row.label for row in labels], labelled_days),
        labelled_share_by_day=_daily(quality, "labelled_share", labelled_days),
        rules=_counts(rules),
        models=tuple(models),
        unknown_models=tuple(sorted(_sums(quality, "unknown_model_responses"))),
        score_histogram=tuple(int(count) for _, count in sorted(_sums(quality, "score_histogram").items())),
        margin_histogram=_margins(layout, labelled_days),
        model_spend=spend["model_cost"],
        scorer_spend=spend["scorer_cost"],
        unpriced=int(_sums(quality, "unpriced_answers").get("", 0)),
        rejected=sum(rejects_by_code.values()),
        rejects_by_code=rejects_by_code,
        rejects=_rejects(layout, labelled_days),
    )


def _values(quality: pl.DataFrame, metric: str) -> pl.Series:
    return quality.filter(pl.col("metric") == metric)["value"]


def _sums(quality: pl.DataFrame, metric: str) -> dict[str, float]:
    """Return key -> sum over the days of one metric of the quality report."""
    found = quality.filter((pl.col("metric") == metric) & pl.col("value").is_not_null())
    return dict(found.group_by("key", maintain_order=True).agg(pl.col("value").sum()).iter_rows())


def _counts(sums: dict[str, float]) -> dict[str, int]:
    """Return the sums as whole numbers, the largest first, without zeros."""
    return {
        key: int(value) for key, value in sorted(sums.items(), key=lambda item: (-item[1], item[0])) if value
    }


def _daily(quality: pl.DataFrame, metric: str, days: Sequence[date]) -> tuple[float | None, ...]:
    found = dict(quality.filter(pl.col("metric") == metric).select("day", "value").iter_rows())
    return tuple(found.get(day) for day in days)


def _weighted(parts: Sequence[tuple[float | None, int]]) -> float | None:
    """Return the mean of means, each weighted by its count; None without any."""
    known = [(mean, count) for mean, count in parts if mean is not None and count]
    return sum(mean * count for mean, count in known) / sum(count for _, count in known) if known else None


def _labels(distribution: pl.DataFrame) -> list[LabelFacts]:
    parts: dict[str, list[tuple[float | None, int]]] = {}
    for label, mean, examples in distribution.select("label", "mean_score", "examples").iter_rows():
        parts.setdefault(label, []).append((mean, examples))
    counts = Counter({label: sum(examples for _, examples in found) for label, found in parts.items()})
    total = max(counts.total(), 1)
    return [
        LabelFacts(label, count, count / total, _weighted(parts[label]))
        for label, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _by_day(
    distribution: pl.DataFrame, labels: Sequence[str], days: Sequence[date]
) -> dict[str, tuple[int, ...]]:
    found = {(label, day): n for label, day, n in distribution.select("label", "day", "examples").iter_rows()}
    return {label: tuple(found.get((label, day), 0) for day in days) for label in labels}


def _models(layout: Layout, days: Sequence[date]) -> list[ModelFacts]:
    board = read_table(layout, "model_leaderboard", days)
    measured = _measured(layout, days)
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in board.iter_rows(named=True):
        rows.setdefault(row["model"], []).append(row)
    models = []
    for model, found in rows.items():
        total = {
            name: sum(row[name] for row in found)
            for name in ("responses", "scored", "failed", "contests", "wins")
        }
        costs = [row["cost"] for row in found if row["cost"] is not None]
        mean_score, p50, p95 = measured.get(model, (None, None, None))
        models.append(
            ModelFacts(
                model=model,
                category=found[-1]["category"],
                responses=total["responses"],
                scored=total["scored"],
                mean_score=mean_score,
                contests=total["contests"],
                wins=total["wins"],
                win_share=total["wins"] / total["contests"] if total["contests"] else None,
                failed_share=total["failed"] / max(total["responses"], 1),
                latency_p50=p50,
                latency_p95=p95,
                cost=sum(costs) if costs else None,
            )
        )
    return sorted(
        models, key=lambda model: (-(-1.0 if model.mean_score is None else model.mean_score), model.model)
    )


def _measured(layout: Layout, days: Sequence[date]) -> dict[str, tuple[float | None, int | None, int | None]]:
    """Return model -> mean score and latencies p50 and p95 (ms) over all days, as on the leaderboard.

    They are computed from the responses, because the days' own figures cannot be added up. An answer of a
    model that was asked at random stands for 1 / probability questions.
    """
    score = pl.col("score").drop_nulls()
    asked = pl.col("asked").fill_null(1.0).clip(lower_bound=0.01)
    stands_for = (1 / asked).filter(pl.col("score").is_not_null())
    mean = pl.when(score.len() > 0).then(((score * stands_for).sum() / stands_for.sum()).round(12))
    latency = pl.col("latency_ms").filter(~pl.col("failed")).drop_nulls().sort()

    def at_rank(percent: int) -> pl.Expr:
        return latency.get(
            (latency.len().cast(pl.Int64) * percent + 99) // 100 - 1,
            null_on_oob=True,  # a model without an answer has none
        )

    figures = mean.alias("mean"), at_rank(50).alias("p50"), at_rank(95).alias("p95")
    asked_of = pl.col("model").is_not_null()
    found = query_table(
        layout, "responses", days, lambda rows: rows.filter(asked_of).group_by("model").agg(*figures)
    )
    return {model: (mean, p50, p95) for model, mean, p50, p95 in found.iter_rows()}


def _margins(layout: Layout, days: Sequence[date]) -> tuple[int, ...]:
    margin = pl.col("margin").round(12)  # 0.9 - 0.8 is a little less than 0.1
    place = (margin * MARGIN_BINS).floor().clip(0, MARGIN_BINS - 1).cast(pl.Int64).alias("place")
    chosen = pl.col("label").is_not_null() & pl.col("margin").is_not_null()
    found = query_table(
        layout,
        "training_examples",
        days,
        lambda rows: rows.filter(chosen).select(place).group_by("place").len(),
    )
    counts: dict[int, int] = dict(found.iter_rows())
    return tuple(counts.get(at, 0) for at in range(MARGIN_BINS))


def _rejects(layout: Layout, days: Sequence[date]) -> tuple[RejectFacts, ...]:
    columns = ("day", "raw_file", "byte_offset", "code", "message")
    found = query_table(layout, "rejects", days, lambda rows: rows.select(columns).head(MAX_REJECTS))
    return tuple(RejectFacts(*row) for row in found.iter_rows())
