"""The daily assets: what each one is, who owns it, and what it is made from.

`steps.py` says how each is made, and `days.py` runs the steps. The router assets are in `router_assets.py`.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from flywheel_dagster.checks import day_check_specs
from flywheel_dagster.days import work_through
from flywheel_dagster.resources import Lake
from flywheel_dagster.steps import DAILY_STEPS

PLATFORM, LEARNING = ["team:platform"], ["team:learning"]

RAW_POINTS = "raw_points"
TRAINING_DATASET = "training_dataset"


def raw_points(partitions: dg.PartitionsDefinition[str]) -> dg.AssetSpec:
    """Return the spec of the collector's day files: Dagster observes them and does not make them."""
    return dg.AssetSpec(
        RAW_POINTS,
        description="Data points as the collector received them. The day is the UTC day of receipt, with one file per writer: "
        "`data/raw/training_data_YYYYMMDD*.jsonl`. The sensor `late_days` records here when a closed day's files change.",
        group_name="days",
        kinds={"json", "file"},
        owners=PLATFORM,
        tags={"layer": "raw"},
        partitions_def=partitions,
    )


def daily_specs() -> list[dg.AssetSpec]:
    """Return the specs of the daily tables and of the training dataset, one partition per day each.

    The dataset reads a window of days, but for Dagster it depends on its last day alone: a missing or failed
    day inside the window must not hold up the dataset, and with a window mapping one failed day would hold up
    every dataset whose window contains it.
    """
    tables = [
        _table(
            "responses",
            [RAW_POINTS],
            "One row per data point and model: answer, latency, cost, failure, score. Every line of the raw "
            "files is accepted, a duplicate or rejected. Rebuilt from the raw files, it has the same bytes.",
            "python",
            PLATFORM,
        ),
        _table(
            "rejects",
            [RAW_POINTS],
            "The lines that are not acceptable data points: file, byte offset, reason and raw text. Nothing is lost.",
            "python",
            PLATFORM,
        ),
        _table(
            "training_examples",
            ["responses"],
            "One row per data point: label, the rule that gave it, best model, score, margin and split. "
            "Unlabelled data points are kept, with the rule that says why.",
        ),
        _table(
            "label_distribution",
            ["training_examples"],
            "How often each label was given on a day. The shares are plotted over the days, as `share_...`.",
        ),
        _table(
            "model_leaderboard",
            ["responses", "training_examples"],
            "Per model: answers, mean score, win rate, failure rate, latency p50 and p95, cost.",
        ),
        _table(
            "quality_report",
            ["responses", "rejects", "training_examples", "label_distribution", "model_leaderboard"],
            "Whether the day is fit to learn from: coverage, ties, margins, scores, unknown models, spend.",
        ),
    ]
    dataset = dg.AssetSpec(
        TRAINING_DATASET,
        deps=["training_examples", "label_distribution", "model_leaderboard", "quality_report"],
        description="A versioned training dataset of the window of days that ends with this day, without repeats, split "
        "70/10/20 by a hash of the question. The window has `dataset.window_days` days; those missing are left out.",
        group_name="training",
        kinds={"polars", "parquet", "json"},
        owners=LEARNING,
        tags={"layer": "dataset"},
    )
    return [*tables, dataset]


def _table(
    name: str, deps: list[str], description: str, kind: str = "duckdb", owners: list[str] = LEARNING
) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        deps=deps,
        description=description,
        group_name="days",
        kinds={kind, "parquet"},
        owners=owners,
        tags={"dagster/storage_kind": "parquet", "layer": "table"},
    )


def daily_assets(partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """Return all daily assets as one operation.

    A range of days is therefore one run, and a bad day stops only itself.
    """

    @dg.multi_asset(
        name="daily_assets",
        specs=daily_specs(),
        check_specs=day_check_specs(partitions),
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )
    def _daily_assets(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Iterator[Any]:
        yield from work_through(context, lake, DAILY_STEPS)

    return _daily_assets
