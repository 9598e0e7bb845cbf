"""What runs by the clock, all times UTC. What runs in response to an event is in `sensors.py`."""

from datetime import UTC, date, timedelta

import dagster as dg

from flywheel_dagster.freshness import FRESHNESS_JOB
from flywheel_dagster.jobs import TRAINING_SET_JOB


def nightly_training_set(first_day: str) -> dg.ScheduleDefinition:
    """Return the schedule that makes yesterday's tables and training dataset at 01:30.

    It names yesterday itself, because the newest partition is the open day.
    """

    @dg.schedule(
        name="nightly_training_set",
        job_name=TRAINING_SET_JOB,
        cron_schedule="30 1 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Makes yesterday's tables and training dataset at 01:30 UTC.",
    )
    def _nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        yesterday = context.scheduled_execution_time.astimezone(UTC).date() - timedelta(days=1)
        if yesterday < date.fromisoformat(first_day):
            return dg.SkipReason(f"{yesterday} lies before storage.first_day ({first_day})")
        return dg.RunRequest(run_key=yesterday.isoformat(), partition_key=yesterday.isoformat())

    return _nightly


def hourly_dataset_check() -> dg.ScheduleDefinition:
    """Return the schedule that checks every hour that the last night made a dataset and a router."""
    return dg.ScheduleDefinition(
        name="hourly_dataset_check",
        job_name=FRESHNESS_JOB,
        cron_schedule="45 * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Runs the checks dataset_recent and trained_on_current_dataset once an hour.",
    )
