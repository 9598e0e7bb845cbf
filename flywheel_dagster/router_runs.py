"""When routers are trained, judged and promoted: once the training set of a day has been made."""

import dagster as dg

from flywheel_dagster.assets import TRAINING_DATASET
from flywheel_dagster.freshness import RETRAIN_JOB, examples_of
from flywheel_dagster.jobs import DATASET_JOB, JOBS, TRAINING_SET_JOB
from flywheel_dagster.partitions import PARTITION_TAG, RANGE_END_TAG
from flywheel_dagster.router_assets import ROUTER_ASSETS

NIGHTLY_RETRAIN = dg.define_asset_job(
    RETRAIN_JOB,
    selection=dg.AssetSelection.assets(*ROUTER_ASSETS),
    description="A challenger from the day's dataset, its judgement, the promotion if it passed, and the taking up.",
)


def after_training_set() -> dg.SensorDefinition:
    """Return the sensor that starts `nightly_retrain` once for each run that made a training set.

    A dataset without examples, such as every night makes before the first data point arrives, is neither a
    failure nor an alarm.
    """

    @dg.run_status_sensor(
        name="after_training_set",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[job for job in JOBS if job.name in (TRAINING_SET_JOB, DATASET_JOB)],
        request_job=NIGHTLY_RETRAIN,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts nightly_retrain for the day whose training set was made, unless it is empty; of a range, for its last day.",
    )
    def _after_training_set(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        tags = context.dagster_run.tags
        day = tags.get(PARTITION_TAG) or tags.get(RANGE_END_TAG)
        if day is None:
            return dg.SkipReason("the run names no day")
        if _examples(context.instance, day) == 0:
            return dg.SkipReason(f"the dataset of {day} has no example: there is nothing to train on yet")
        return dg.RunRequest(run_key=f"{day}:{context.dagster_run.run_id}", partition_key=day)

    return _after_training_set


def _examples(instance: dg.DagsterInstance, day: str) -> int | None:
    """Return how many examples the newest dataset of `day` has by its materialization; None if unknown."""
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(TRAINING_DATASET), asset_partitions=[day]), limit=1
    ).records
    return examples_of(found[0]) if found else None
