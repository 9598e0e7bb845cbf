"""When routers are trained, judged and promoted: after the training set of a day was made."""

import dagster as dg

from flywheel_dagster.jobs import JOBS, TRAINING_SET_JOB
from flywheel_dagster.partitions import RANGE_END_TAG
from flywheel_dagster.router_assets import ROUTER_ASSETS

PARTITION_TAG = "dagster/partition"

NIGHTLY_RETRAIN = dg.define_asset_job(
    "nightly_retrain",
    selection=dg.AssetSelection.assets(*ROUTER_ASSETS),
    description="A challenger from the day's dataset, its judgement, the promotion if it passed, and the taking up.",
)


def after_training_set() -> dg.SensorDefinition:
    """Starts `nightly_retrain` once for each day whose training set was made."""

    @dg.run_status_sensor(
        name="after_training_set",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[job for job in JOBS if job.name == TRAINING_SET_JOB],
        request_job=NIGHTLY_RETRAIN,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts nightly_retrain for the day whose training set was made; of a range, for its last day.",
    )
    def _after_training_set(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        tags = context.dagster_run.tags
        day = tags.get(PARTITION_TAG) or tags.get(RANGE_END_TAG)
        if day is None:
            return dg.SkipReason("the run names no day")
        return dg.RunRequest(run_key=f"{day}:{context.dagster_run.run_id}", partition_key=day)

    return _after_training_set
