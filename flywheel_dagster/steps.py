"""What each step does for one day: call `flywheel_core/lake`, give figures for the UI, and give verdicts.

How figures look is in `metadata.py`, what a verdict says in `checks.py`; `days.py` runs the steps.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from flywheel_core.errors import StorageError
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.tables import DRIFT_DAYS, build_table, read_table
from flywheel_core.report.facts import MAX_MODELS
from flywheel_dagster import checks, metadata
from flywheel_dagster.dataset_step import make_dataset
from flywheel_dagster.days import Outcome, Step
from flywheel_dagster.resources import Lake


def make_responses(lake: Lake, day: date) -> Sequence[Outcome]:
    """Make `responses` and `rejects` from the day's raw files."""
    result = ingest_day(lake.layout, day, lake.config)
    stored = pl.scan_parquet(result.responses.path, glob=False)
    points = stored.select(pl.col("data_point_id").n_unique()).collect().item()
    models = stored.select(pl.col("model").drop_nulls().unique().sort()).collect().to_series().to_list()
    categories = lake.config.categories()
    verdicts = (
        checks.points_reconciled(
            lines=result.lines,
            accepted=result.accepted,
            duplicates=result.duplicates,
            rejected=result.rejected,
            stored_points=points,
            stored_rejects=result.rejects.rows,
        ),
        checks.rejected_share(
            lines=result.lines, rejected=result.rejected, limit=lake.config.operations.max_rejected_share
        ),
        checks.day_has_points(accepted=result.accepted),
        checks.models_mapped(seen={model: categories.get(model) for model in models}),
    )
    return (
        Outcome(
            "responses",
            result.responses.sha256,
            {
                **metadata.of_table(result.responses),
                "data_points": result.accepted,
                "duplicates": result.duplicates,
                "raw_bytes": result.bytes_read,
                "raw_files": metadata.named(result.files) or "none",
            },
            verdicts,
        ),
        Outcome(
            "rejects",
            result.rejects.sha256,
            {
                "reasons": metadata.rows_of(("code", "lines"), sorted(result.rejected_by_code.items())),
                "share_rejected": metadata.short(result.rejected / result.lines) if result.lines else 0.0,
                **metadata.of_table(result.rejects),
            },
        ),
    )


def make_examples(lake: Lake, day: date) -> Sequence[Outcome]:
    """Make `training_examples` from `responses`, and count the labelled data points and the rules used."""
    table = build_table(lake.layout, "training_examples", day, lake.config)
    rules = (
        pl.scan_parquet(table.path, glob=False)
        .group_by("rule")
        .agg(pl.len().alias("data points"))
        .sort("rule")
        .collect()
    )
    labelled = (
        pl.scan_parquet(table.path, glob=False).select(pl.col("label").is_not_null().sum()).collect().item()
    )
    return (
        Outcome(
            table.name,
            table.sha256,
            {
                "rules": metadata.frame(rules),
                "labelled": labelled,
                "share_labelled": metadata.short(labelled / table.rows) if table.rows else 0.0,
                **metadata.of_table(table),
            },
        ),
    )


def make_distribution(lake: Lake, day: date) -> Sequence[Outcome]:
    """Make `label_distribution` from `training_examples`, and compare it with the week before."""
    table = build_table(lake.layout, "label_distribution", day, lake.config)
    counts = _label_counts(lake, [day])
    before, unread = _week_before(lake, day)
    most = max(counts.values(), default=0)
    rows = [(label, count, metadata.bar(count, most)) for label, count in counts.items()]
    return (
        Outcome(
            table.name,
            table.sha256,
            {
                "labels": metadata.rows_of(("label", "examples", ""), rows),
                "chart": metadata.chart(
                    list(counts.items()), of="label", title=f"Labels, {day}", unit="examples"
                ),
                "table": metadata.frame(read_table(lake.layout, table.name, [day]).drop("day")),
                "labelled": sum(counts.values()),
                **metadata.shares(counts),
                **metadata.of_table(table),
            },
            (
                checks.label_drift(
                    today=counts,
                    week=before,
                    limit=lake.config.operations.max_label_drift,
                    unread=metadata.spans(unread) if unread else None,
                    untold=_untold(lake, day),
                ),
            ),
        ),
    )


def _untold(lake: Lake, day: date) -> int:
    """Return the number of the day's questions with two scores or more if on none of them they differ, else 0."""
    scored = pl.scan_parquet(lake.layout.table("training_examples", day), glob=False).filter(
        pl.col("n_scored") > 1
    )
    tied = pl.col("outcomes").list.eval(pl.element().struct.field("score").drop_nulls()).list
    count, differ = scored.select(pl.len(), (tied.max() > tied.min()).any()).collect().row(0)
    return 0 if differ else int(count)


def _week_before(lake: Lake, day: date) -> tuple[dict[str, int], list[date]]:
    """Return labelled examples per label in the week before `day`, and its days with a damaged table.

    Damage to another day's table must not fail this day.
    """
    week: Counter[str] = Counter()
    unread = []
    for one in (day - timedelta(days=back) for back in range(DRIFT_DAYS, 0, -1)):
        try:
            week.update(_label_counts(lake, [one]))
        except StorageError:
            unread.append(one)
    return dict(week), unread


def _label_counts(lake: Lake, days: Sequence[date]) -> dict[str, int]:
    """Return labelled examples per label, 0 for a category of the configuration that has none."""
    counts = dict.fromkeys(dict.fromkeys(lake.config.categories().values()), 0)
    found = read_table(lake.layout, "label_distribution", days)
    for label, count in found.select("label", "examples").drop_nulls("label").rows():
        counts[label] = counts.get(label, 0) + count
    return counts


def make_leaderboard(lake: Lake, day: date) -> Sequence[Outcome]:
    """Make `model_leaderboard` from `responses` and `training_examples`."""
    table = build_table(lake.layout, "model_leaderboard", day, lake.config)
    board = read_table(lake.layout, table.name, [day])
    shown = _shown_models(board)
    scores = shown.select("model", "mean_score").drop_nulls().rows()
    wins = shown.select("model", "win_rate").drop_nulls().rows()
    rows = [(model, score, metadata.bar(score, 1.0)) for model, score in scores]
    return (
        Outcome(
            table.name,
            table.sha256,
            {
                "scores": metadata.rows_of(("model", "mean score", ""), rows),
                "chart": metadata.chart(scores, of="model", title=f"Mean score, {day}", unit="score, 0 to 1"),
                "table": metadata.frame(board.drop("day")),
                **_series("mean_score", scores),
                **_series("win_rate", wins),
                "models": board.height,
                "models_shown": shown.height,
                **metadata.of_table(table),
            },
        ),
    )


def _shown_models(board: pl.DataFrame) -> pl.DataFrame:
    """Return the `MAX_MODELS` rows that get bars and a series: models with a category, then those with the most responses.

    Otherwise, a source that invents a name for each response would make every night's event as large as its tables.
    """
    first = board.sort(pl.col("category").is_null(), -pl.col("responses"), "model").head(MAX_MODELS)
    return first.sort("place")


def _series(what: str, values: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Return `<what>_<model>` -> value, which Dagster plots over days. Names too long for a page get no series."""
    return {
        f"{what}_{model}": metadata.short(value)
        for model, value in values
        if len(model) <= metadata.MAX_CELL_CHARS
    }


def make_quality(lake: Lake, day: date) -> Sequence[Outcome]:
    """Make `quality_report` from all other tables of the day; its single figures plot over days."""
    table = build_table(lake.layout, "quality_report", day, lake.config)
    report = read_table(lake.layout, table.name, [day]).drop("day")
    bins = report.filter(pl.col("section") == "score_histogram").select("key", "value").rows()
    single = report.filter((pl.col("key") == "") & pl.col("value").is_not_null()).select("metric", "value")
    most = max((count for _, count in bins), default=0.0)
    rows = [(score, int(count), metadata.bar(count, most)) for score, count in bins]
    return (
        Outcome(
            table.name,
            table.sha256,
            {
                "scores": metadata.rows_of(("score", "responses", ""), rows),
                "chart": metadata.chart(bins, of="score", title=f"Scores, {day}", unit="responses"),
                "table": metadata.frame(report),
                **{name: metadata.short(value) for name, value in single.rows()},
                **metadata.of_table(table),
            },
        ),
    )


DAILY_STEPS = (
    Step(("responses", "rejects"), (), make_responses),
    Step(("training_examples",), ("responses",), make_examples),
    Step(("label_distribution",), ("training_examples",), make_distribution),
    Step(("model_leaderboard",), ("training_examples",), make_leaderboard),
    Step(("quality_report",), ("training_examples", "label_distribution", "model_leaderboard"), make_quality),
    Step(
        ("training_dataset",),
        ("training_examples", "label_distribution", "model_leaderboard", "quality_report"),
        make_dataset,
    ),
)
"""The steps of a day, in the order in which they run."""
