"""What runs because something happened: raw files that changed late, and runs that failed."""

from datetime import date
from typing import Any

import dagster as dg
from dagster_shared.error import SerializableErrorInfo  # the public API has no name for it

from flywheel_core.config_file import secret
from flywheel_dagster.alarms import post_alarm
from flywheel_dagster.assets import RAW_POINTS
from flywheel_dagster.jobs import DAY_TABLES_JOB
from flywheel_dagster.late import QUIET, RawDay, is_ingested, joined_mark, look, read_cursor, write_cursor
from flywheel_dagster.partitions import range_tags, ranges, utc_now
from flywheel_dagster.resources import Lake

MAX_MESSAGE_CHARS = 2_000
OUR_ERRORS = "flywheel_"
"""How the full names of Flywheel's own errors begin; they quote no prompt and no answer."""


def late_days(interval: int) -> dg.SensorDefinition:
    """Makes the tables of closed days whose raw files are new or changed; looks every `interval` seconds."""

    @dg.sensor(
        name="late_days",
        job_name=DAY_TABLES_JOB,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Makes a closed day's tables when its raw files are new, late or rewritten. Unbroken ranges are one run.",
    )
    def _late_days(context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]) -> dg.SensorResult:
        first_day = date.fromisoformat(lake.config.storage.first_day)
        before = read_cursor(context.cursor)
        seen = look(lake.layout, utc_now(), first_day)
        new = [raw for raw in seen if before.get(raw.day) != raw.mark]
        changed = [raw for raw in new if raw.at_rest]
        to_make = [raw for raw in changed if raw.day in before or not is_ingested(lake.layout, raw)]
        there = set(lake.layout.raw_days())
        after = {day: mark for day, mark in before.items() if day in there}
        after.update((raw.day, raw.mark) for raw in changed)
        requests = _requests(to_make)
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else _nothing_to_make(len(seen), len(new) - len(changed)),
            cursor=write_cursor(after),
            asset_events=[_seen(raw) for raw in changed],
        )

    return _late_days


def _nothing_to_make(closed: int, waiting: int) -> str:
    if waiting:
        return f"{closed} closed days, {waiting} of them changed in the last {QUIET.seconds // 60} minutes: made once left alone"
    return f"{closed} closed days, none changed since it was ingested"


def _requests(days: list[RawDay]) -> list[dg.RunRequest]:
    requests = []
    for first, last in ranges(raw.day for raw in days):
        mark = joined_mark([raw for raw in days if first <= raw.day <= last])
        requests.append(dg.RunRequest(run_key=f"{first}..{last}:{mark}", tags=range_tags(first, last)))
    return requests


def _seen(raw: RawDay) -> dg.AssetMaterialization:
    """The collector made this day: its partition of the external asset is there, with what it holds."""
    return dg.AssetMaterialization(
        RAW_POINTS,
        partition=raw.day.isoformat(),
        metadata={
            "files": len(raw.files),
            "bytes": raw.size,
            "newest_change": dg.MetadataValue.timestamp(raw.newest),
            "names": ", ".join(raw.files),
        },
        tags={"dagster/data_version": raw.mark},
    )


def run_failed() -> dg.SensorDefinition:
    """Posts every failed run to the webhook, when one is configured. A post that fails makes the tick fail, visibly."""

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
    """What is posted about a failed run: which, for which days, and why. No prompt and no answer is in it."""
    run = context.dagster_run
    tags = run.tags
    return {
        "event": "run_failed",
        "run_id": run.run_id,
        "job": run.job_name,
        "first_day": tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_start"),
        "last_day": tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_end"),
        "message": _why(context)[:MAX_MESSAGE_CHARS],
        "at": utc_now().isoformat(timespec="seconds"),
    }


def _why(context: dg.RunFailureSensorContext) -> str:
    """The failed steps' own words, or the run's when it failed without a step."""
    words = []
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data is not None and data.user_failure_data.description:
            words.append(data.user_failure_data.description)
        elif data.error is not None:
            words.append(f"{event.step_key}: {_in_words(data.error.cause or data.error)}")
    return "; ".join(words) or context.failure_event.message or "the run failed"


def _in_words(error: SerializableErrorInfo) -> str:
    """What an error that Dagster wrapped says, in one line. A foreign one may quote the data it met: its type alone is told."""
    kind, _, says = error.message.partition(": ")
    if kind.startswith(OUR_ERRORS):
        return "; ".join(line.strip() for line in says.splitlines() if line.strip())
    return f"{error.cls_name or kind}; the run's log has the details"
