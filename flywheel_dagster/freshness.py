"""Whether each night made a training dataset, and then a router: what looks at the clock, not at a day. It runs every hour.

What never started cannot fail, and only failed runs are posted to the webhook. So the hourly run fails in its place.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import dagster as dg

from flywheel_dagster.partitions import utc_now
from flywheel_dagster.resources import Lake

FRESHNESS_JOB = "dataset_freshness"
RETRAIN_JOB = "nightly_retrain"
MAX_DATASET_AGE = timedelta(hours=26)
SILENT_DAYS = 7
"""How many days without any data point are no fault, as over holidays."""
START_WITHIN = timedelta(hours=1)
"""How long after a dataset its retraining has started for certain."""
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
    description="A training dataset of yesterday, the day before or today was made in the last 26 hours, and a data point "
    f"arrived in the {SILENT_DAYS} days before today, unless the configuration collects nothing.",
)
def dataset_recent(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> Iterator[dg.AssetCheckResult]:
    """Check only the newest days, so that a backfill of old days does not hide a stopped nightly run."""
    now = utc_now()
    found = _newest_dataset(context.instance, now)
    made = _time_of(found, now) if found else None
    passed, says = newest_is_recent(made, found.partition_key if found else None, now)
    silent = _silent_since(context.instance, lake, now.date())
    if passed and silent is not None:
        passed = False
        says = f"no data point arrived after {silent}: look at the gateways and the collector, and whether this is the folder that it writes to: {lake.layout.root.absolute()}"
    yield dg.AssetCheckResult(passed=passed, description=says)
    if not passed:
        tell(context, says)


def _silent_since(instance: dg.DagsterInstance, lake: Lake, today: date) -> date | None:
    """Return the last day with raw files, or the day of the first run if later, if it is over `SILENT_DAYS` days ago.

    None if nothing is to be collected, by the configuration.
    """
    settings = lake.config.data_collection
    rate = settings.sampling_rate if settings.mode == "training" else settings.production.sampling_rate
    newest = max([_began(instance).date(), *lake.layout.raw_days()])
    return newest if settings.enabled and rate and (today - newest).days > SILENT_DAYS else None


def tell(context: dg.AssetCheckExecutionContext, says: str) -> None:
    """Fail an hourly run, so that `says` is posted: once a day, and not on the first day. Other runs go on."""
    if context.run.job_name == FRESHNESS_JOB and _is_to_be_told(context.instance, utc_now()):
        raise dg.Failure(says, allow_retries=False)


def is_retraining_left_out(instance: dg.DagsterInstance) -> bool:
    """Whether there is a dataset with examples of the last night, and no run of `nightly_retrain` was started since.

    A run that failed was posted itself.
    """
    now = utc_now()
    found = _newest_dataset(instance, now)
    if found is None or not now - MAX_DATASET_AGE <= _time_of(found, now) <= now - START_WITHIN:
        return False
    started = dg.RunsFilter(job_name=RETRAIN_JOB, created_after=now - MAX_DATASET_AGE)
    return examples_of(found) != 0 and not instance.get_runs_count(started)


def examples_of(dataset: dg.EventLogRecord) -> int | None:
    """Return how many examples a dataset has by its materialization; None if unknown."""
    made = dataset.asset_materialization
    count = made.metadata.get("examples") if made else None
    return count.value if isinstance(count, dg.IntMetadataValue) else None


def _newest_dataset(instance: dg.DagsterInstance, now: datetime) -> dg.EventLogRecord | None:
    """Return the last materialization of a dataset that ends with one of the newest days."""
    oldest = _oldest_recent(now)
    days = [(oldest + timedelta(days=ahead)).isoformat() for ahead in range((now.date() - oldest).days + 1)]
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("training_dataset"), asset_partitions=days)
    return next(iter(instance.fetch_materializations(wanted, limit=1).records), None)


def _time_of(dataset: dg.EventLogRecord, now: datetime) -> datetime:
    return datetime.fromtimestamp(dataset.timestamp, now.tzinfo)


def _is_to_be_told(instance: dg.DagsterInstance, now: datetime) -> bool:
    """Whether a night lies between the first run of all and now, and nothing was told within the day."""
    told = dg.RunsFilter(
        job_name=FRESHNESS_JOB,
        statuses=[dg.DagsterRunStatus.FAILURE],
        created_after=now - TOLD_AGAIN_AFTER,
    )
    return _began(instance) < now - MAX_DATASET_AGE and not instance.get_runs_count(told)


def _began(instance: dg.DagsterInstance) -> datetime:
    """Return when the oldest run on record was made; the one that asks is on record too."""
    return instance.get_run_records(limit=1, ascending=True)[0].create_timestamp
