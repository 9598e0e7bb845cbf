"""The jobs: which assets run together. When they run is in `schedules.py` and `sensors.py`."""

import dagster as dg

from flywheel_core.lake.tables import DAILY_TABLES
from flywheel_dagster.assets import TRAINING_DATASET
from flywheel_dagster.freshness import FRESHNESS_JOB, dataset_recent

DAY_TABLES_JOB = "day_tables"
TRAINING_SET_JOB = "training_set"
DATASET_JOB = "dataset"

JOBS = (
    dg.define_asset_job(
        DAY_TABLES_JOB,
        selection=dg.AssetSelection.assets(*DAILY_TABLES),
        description="A day's tables, without a dataset: for days that changed afterwards, and for backfills.",
    ),
    dg.define_asset_job(
        TRAINING_SET_JOB,
        selection=dg.AssetSelection.assets(*DAILY_TABLES, TRAINING_DATASET)
        - dg.AssetSelection.checks(dataset_recent),
        description="A day's tables and the training dataset that ends with that day.",
    ),
    dg.define_asset_job(
        DATASET_JOB,
        selection=dg.AssetSelection.assets(TRAINING_DATASET) - dg.AssetSelection.checks(dataset_recent),
        description="The training dataset that ends with a day, from existing tables.",
    ),
    dg.define_asset_job(
        FRESHNESS_JOB,
        selection=dg.AssetSelection.checks(
            dataset_recent,
            dg.AssetCheckKey(dg.AssetKey("challenger_router"), "trained_on_current_dataset"),
        ),
        description="Checks that each night made a training dataset and trained a router on it.",
    ),
)
"""All jobs except the one that trains and judges routers.

That one follows the training set of a day and is in `router_runs.py`.
"""
