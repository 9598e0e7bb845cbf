"""Run the job `training_set`, and read what a run recorded."""

from datetime import date
from typing import Any

import dagster as dg

from flywheel_core.config import Config
from flywheel_dagster.definitions import build_defs
from flywheel_dagster.partitions import range_tags

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run_days(
    config: Config, instance: dg.DagsterInstance, first: date, last: date | None = None
) -> dg.ExecuteInProcessResult:
    """Run the job for one day, or for all days up to `last` in one run."""
    job = build_defs(config).resolve_job_def("training_set")
    where: dict[str, Any] = (
        {"partition_key": first.isoformat()} if last is None else {"tags": range_tags(first, last)}
    )
    return job.execute_in_process(QUIET, instance, raise_on_error=False, **where)


def metadata_of(ran: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """Return the metadata of an asset's only materialization in a run."""
    (event,) = [one for one in ran.get_asset_materialization_events() if one.asset_key == dg.AssetKey(asset)]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def failed_checks(ran: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Return check -> severity, for the checks that did not pass."""
    return {
        event.check_name: event.severity.value
        for event in ran.get_asset_check_evaluations()
        if not event.passed
    }
