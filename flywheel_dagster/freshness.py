"""The check that looks at the clock, not at a day: whether a training dataset was made lately. It runs every hour."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import dagster as dg

from flywheel_dagster.partitions import utc_now

FRESHNESS_JOB = "dataset_freshness"
MAX_DATASET_AGE = timedelta(hours=26)
TOLD_AGAIN_AFTER = timedelta(hours=23, minutes=30)
"""After how long a run fails again because there is still no dataset: a day, less the time that a run may be early."""


def newest_is_recent(made: datetime | None, partition: str | None, now: datetime) -> tuple[bool, str]:
    """Return whether a dataset was made in the `MAX_DATASET_AGE` before `now`, and a sentence saying so."""
    if made is None:
        return False, f"no training dataset that ends with {_oldest_recent(now)} or a later day was made yet"
    age = now - made
    hours = age.total_seconds() / 3600
    says = f"the newest training dataset ({partition}) was made {hours:.1f} h ago; {MAX_DATASET_AGE.total_seconds() / 3600:.0f} h are allowed"
    return age <= MAX_DATASET_AGE, says


def _oldest_recent(now: datetime) -> date:
    """Return the first day whose nightly run may lie less than `MAX_DATASET_AGE` back."""
    return (now - MAX_DATASET_AGE).date() - timedelta(days=1)


@dg.asset_check(  # type: ignore[arg-type]  # a generator, so that the result is on record before the run fails
    asset="training_dataset",
    description="A training dataset of yesterday, the day before or today was made in the last 26 hours.",
)
def dataset_recent(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Check only the newest days, so that a backfill of old days does not hide a stopped nightly run.

    A nightly run that never started cannot fail, so the hourly run fails in its place, once a day: only failed
    runs are posted to the webhook.
    """
    now = utc_now()
    oldest = _oldest_recent(now)
    days = [(oldest + timedelta(days=ahead)).isoformat() for ahead in range((now.date() - oldest).days + 1)]
    found = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey("training_dataset"), asset_partitions=days), limit=1
    ).records
    made = datetime.fromtimestamp(found[0].timestamp, now.tzinfo) if found else None
    passed, says = newest_is_recent(made, found[0].partition_key if found else None, now)
    yield dg.AssetCheckResult(passed=passed, description=says)
    if not passed and context.run.job_name == FRESHNESS_JOB and _is_to_be_told(context.instance, now):
        raise dg.Failure(says, allow_retries=False)


def _is_to_be_told(instance: dg.DagsterInstance, now: datetime) -> bool:
    """Whether a nightly run was due since the first run of all, and the lack of a dataset was not told lately."""
    first = instance.get_run_records(limit=1, ascending=True)
    told = dg.RunsFilter(
        job_name=FRESHNESS_JOB,
        statuses=[dg.DagsterRunStatus.FAILURE],
        created_after=now - TOLD_AGAIN_AFTER,
    )
    return first[0].create_timestamp < now - MAX_DATASET_AGE and not instance.get_runs_count(told)
