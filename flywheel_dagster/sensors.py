"""What runs in response to an event: raw files that changed late, and runs that failed."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
from dagster_shared.error import SerializableErrorInfo  # the public API has no name for it

from flywheel_core.config_file import secret
from flywheel_core.lake.first_day import days_before_first, days_to_come
from flywheel_dagster.alarms import post_alarm
from flywheel_dagster.assets import RAW_POINTS
from flywheel_dagster.history import FINISHED
from flywheel_dagster.jobs import DAY_TABLES_JOB
from flywheel_dagster.late import (
    MOST_TRIES,
    QUIET,
    Asked,
    RawDay,
    joined_mark,
    look,
    next_asked,
    read_cursor,
    write_cursor,
)
from flywheel_dagster.metadata import named, spans
from flywheel_dagster.partitions import (
    PARTITION_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    range_tags,
    ranges,
    utc_now,
)
from flywheel_dagster.resources import Lake

MAX_MESSAGE_CHARS = 2_000
OUR_ERRORS = "flywheel_"
"""Prefix of the full names of Flywheel's own errors, which quote no prompt and no answer."""


def late_days(interval: int) -> dg.SensorDefinition:
    """Return the sensor that makes the tables of closed days whose raw files are new or changed.

    It looks every `interval` seconds. A day that is still not made an hour after it was requested, because
    its run failed, is requested again, three times in all.
    """

    @dg.sensor(
        name="late_days",
        job_name=DAY_TABLES_JOB,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Makes a closed day's tables when its raw files are new, late or rewritten, and again when that failed. "
        "Consecutive days are one run.",
    )
    def _late_days(context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]) -> dg.SensorResult:
        now, first_day = utc_now(), date.fromisoformat(lake.config.storage.first_day)
        before = read_cursor(context.cursor)
        there = lake.layout.raw_days()
        after = {day: before[day] for day in there if day in before}
        seen, unreadable = look(lake.layout, now, first_day)
        changed, to_make, failed = [], [], []
        for raw in seen:
            known = before.get(raw.day)
            asked = next_asked(lake.layout, raw, known, now, lambda: _is_under_way(context.instance))
            if asked is None:
                continue
            after[raw.day] = asked
            if known is None or known.mark != asked.mark:
                changed.append(raw)
            if asked.tries and asked != known:
                to_make.append(raw.day)
            elif asked.tries == MOST_TRIES and asked.is_overdue(now):
                failed.append(raw.day)
        requests = _requests({day: after[day] for day in to_make})
        waiting = sum(raw.day not in after or after[raw.day].mark != raw.mark for raw in seen)
        not_made = [*unreadable, days_before_first(there, lake.config), days_to_come(there, now.date())]
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else _nothing_to_make(len(seen), waiting, failed, not_made),
            cursor=write_cursor(after),
            asset_events=[_seen(raw) for raw in changed],
        )

    return _late_days


def _requests(days: Mapping[date, Asked]) -> list[dg.RunRequest]:
    requests = []
    for first, last in ranges(days):
        mark = joined_mark([days[day] for day in sorted(days) if first <= day <= last])
        requests.append(dg.RunRequest(run_key=f"{first}..{last}:{mark}", tags=range_tags(first, last)))
    return requests


def _is_under_way(instance: dg.DagsterInstance) -> bool:
    """Whether a run of the job is unfinished: a day that it has not reached yet has not failed."""
    unfinished = [status for status in dg.DagsterRunStatus if status not in FINISHED]
    return instance.get_runs_count(dg.RunsFilter(job_name=DAY_TABLES_JOB, statuses=unfinished)) > 0


def _nothing_to_make(
    closed: int, waiting: int, failed: Sequence[date], not_made: Sequence[str | None]
) -> str:
    days = "1 closed day" if closed == 1 else f"{closed} closed days"
    says = f"{days}, none changed since it was asked for"
    if waiting:
        minutes = QUIET.seconds // 60
        says = f"{days}, {waiting} of them changed in the last {minutes} minutes: made once left alone"
    if failed:
        says += f"; asked for {MOST_TRIES} times and not made: {spans(failed)}; look at the runs of {DAY_TABLES_JOB}"
    return "; ".join([says, *filter(None, not_made)])


def _seen(raw: RawDay) -> dg.AssetMaterialization:
    """Return the event that records a day's raw files as a partition of the external asset."""
    return dg.AssetMaterialization(
        RAW_POINTS,
        partition=raw.day.isoformat(),
        metadata={
            "files": len(raw.files),
            "bytes": raw.size,
            "newest_change": dg.MetadataValue.timestamp(raw.newest),
            "names": named(raw.files),
        },
        tags={"dagster/data_version": raw.mark},
    )


def run_failed() -> dg.SensorDefinition:
    """Return the sensor that posts every failed run to the webhook, when one is configured.

    A post that fails makes the tick fail, visibly.
    """

    @dg.run_failure_sensor(
        name="run_failed",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Posts failed runs to the webhook named by operations.failure_webhook_env. A post that fails is a failed tick.",
    )
    def _run_failed(
        context: dg.RunFailureSensorContext, lake: dg.ResourceParam[Lake]
    ) -> dg.SkipReason | None:
        variable = lake.config.operations.failure_webhook_env
        if variable is None:
            return dg.SkipReason("operations.failure_webhook_env is not set: nobody is told")
        address = secret(variable, "operations.failure_webhook_env")
        post_alarm(address, alarm(context))
        return None

    return _run_failed


def alarm(context: dg.RunFailureSensorContext) -> dict[str, Any]:
    """Return what is posted about a failed run: which run, for which days, and why.

    No prompt and no answer is in it.
    """
    run = context.dagster_run
    tags = run.tags
    return {
        "event": "run_failed",
        "run_id": run.run_id,
        "job": run.job_name,
        "first_day": tags.get(PARTITION_TAG) or tags.get(RANGE_START_TAG),
        "last_day": tags.get(PARTITION_TAG) or tags.get(RANGE_END_TAG),
        "message": _why(context)[:MAX_MESSAGE_CHARS],
        "at": utc_now().isoformat(timespec="seconds"),
    }


def _why(context: dg.RunFailureSensorContext) -> str:
    """Return that the run took too long, the failed steps' own messages, or why the run did not come to a step."""
    if too_long := _took_too_long(context):
        return too_long  # what its steps met then is that they were ended
    words = []
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data is not None and data.user_failure_data.description:
            words.append(data.user_failure_data.description)
        elif data.error is not None:
            words.append(f"{event.step_key}: {_in_words(data.error.cause or data.error)}")
    return "; ".join(words) or _what_stopped(context) or context.failure_event.message or "the run failed"


def _took_too_long(context: dg.RunFailureSensorContext) -> str | None:
    """Return what Dagster said when it ended a run that took longer than `max_runtime_seconds`, None for other runs."""
    found = context.instance.all_logs(context.dagster_run.run_id, of_type=dg.DagsterEventType.RUN_CANCELING)
    said = (entry.dagster_event.message or "" for entry in found if entry.dagster_event)
    return next((text for text in said if "maximum runtime" in text), None)


def _what_stopped(context: dg.RunFailureSensorContext) -> str | None:
    """Return the last error that Dagster itself met in the run, such as a configuration that cannot be read."""
    found = context.instance.get_records_for_run(
        context.dagster_run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT, ascending=False
    )
    for record in found.records:
        event = record.event_log_entry.dagster_event
        error = event.engine_event_data.error if event else None
        if error is not None:
            return _in_words(error.cause or error)
    return None


def _in_words(error: SerializableErrorInfo) -> str:
    """Return the message of an error that Dagster wrapped, in one line.

    An error that is not Flywheel's may quote data, so only its type is told.
    """
    kind, _, says = error.message.partition(": ")
    if kind.startswith(OUR_ERRORS):
        return "; ".join(line.strip() for line in says.splitlines() if line.strip())
    return f"{error.cls_name or kind}; the run's log has the details"
