"""Makes days and routers through Dagster, in this process: for `flywheel dagster backfill` and the demo.

The usual assets report to the instance in DAGSTER_HOME, so that runs, metadata and checks show up in the UI.
A range of days costs one run; there is no queue and no process to start.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from dagster._core.instance.ref import InstanceRef  # the only way to an instance with one setting changed

from flywheel_core.config import Config
from flywheel_core.errors import FlywheelError, UsageError
from flywheel_dagster.definitions import build_defs
from flywheel_dagster.home import prepare_home, readable
from flywheel_dagster.jobs import DATASET_JOB, DAY_TABLES_JOB, TRAINING_SET_JOB
from flywheel_dagster.partitions import range_tags, ranges, utc_now
from flywheel_dagster.resources import DayReport, Lake
from flywheel_dagster.router_assets import CHAMPION, EVALUATION
from flywheel_dagster.router_runs import NIGHTLY_RETRAIN

Datasets = Literal["none", "last", "every"]
"""Which training datasets to make: none, the last day's, or one for every day."""

QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Materialized:
    """What `materialize_days` did.

    days: how many; failed: day -> what went wrong; seconds: wall time; runs: run ids.
    """

    days: int
    failed: dict[date, tuple[str, ...]]
    seconds: float
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Retrained:
    """The outcome of `retrain`.

    challenger: version of the router trained; champion: the version in service afterwards.
    """

    verdict: str
    reason: str
    challenger: str
    champion: str


def materialize_days(
    days: Iterable[date],
    config: Config,
    home: Path,
    *,
    datasets: Datasets = "last",
    on_day: Callable[[DayReport], None] | None = None,
) -> Materialized:
    """Make the tables of `days`, in order, and the training datasets asked for.

    on_day: called with a report as each day ends. A day that fails does not stop the others: see `failed` of
    the result. No dataset of a failed day is made. The sensors of a running daemon do not see these runs, so
    none retrains or raises an alarm. Raises UsageError for a day outside `storage.first_day` .. today,
    StorageError when `home` cannot be made, FlywheelError `run_failed` when a run fails before any of its days.
    """
    wanted = sorted(set(days))
    _check_days(wanted, date.fromisoformat(config.storage.first_day), utc_now().date())
    started = time.monotonic()
    failed: dict[date, tuple[str, ...]] = {}

    def heard(report: DayReport) -> None:
        if report.failures:
            failed[report.day] = failed.get(report.day, ()) + report.failures
        if on_day is not None:
            on_day(report)

    defs = build_defs(config, {"lake": Lake(config, on_day=heard)})
    runs = []
    with readable(home), _instance(home) as instance:

        def run(job: str, start: date, end: date) -> None:
            with _sigterm_kept():
                done = defs.resolve_job_def(job).execute_in_process(
                    QUIET,
                    instance,
                    tags=range_tags(start, end),
                    raise_on_error=False,
                )
            runs.append(done.run_id)
            if not done.success and not any(start <= day <= end for day in failed):
                raise FlywheelError(
                    f"Dagster's run {done.run_id} of {start} .. {end} failed before any day",
                    hint="look at the run in the Dagster UI",
                    code="run_failed",
                )

        for start, end in ranges(wanted):
            run(TRAINING_SET_JOB if datasets == "every" else DAY_TABLES_JOB, start, end)
        if datasets == "last" and wanted and wanted[-1] not in failed:
            run(DATASET_JOB, wanted[-1], wanted[-1])
    return Materialized(len(wanted), failed, time.monotonic() - started, tuple(runs))


def _check_days(days: Iterable[date], first: date, last: date) -> None:
    """Raise UsageError for a day outside first .. last."""
    for day in days:
        if not first <= day <= last:
            raise UsageError(
                f"{day} is outside {first} .. {last}, the days that Dagster has partitions for",
                hint="set storage.first_day to the first day of your data"
                if day < first
                else "a day can be made once it has begun in UTC",
            )


def retrain(day: date, config: Config, home: Path) -> Retrained:
    """Train a router on the dataset of `day`, judge it, and promote it if it passes.

    Runs the job `nightly_retrain` in this process. Raises FlywheelError `run_failed` with the run's own
    message, StorageError when `home` cannot be made.
    """
    defs = build_defs(config)
    with readable(home), _instance(home) as instance, _sigterm_kept():
        done = defs.resolve_job_def(NIGHTLY_RETRAIN.name).execute_in_process(
            QUIET, instance, partition_key=day.isoformat(), raise_on_error=False
        )
    if not done.success:
        raise FlywheelError(
            f"no router of {day}: {_why(done)}",
            hint=f"look at the run {done.run_id} in the Dagster UI",
            code="run_failed",
        )
    (judged,) = done.asset_materializations_for_node(EVALUATION)
    (serving,) = done.asset_materializations_for_node(CHAMPION)
    verdict, reason, challenger = (
        str(judged.metadata[name].value) for name in ("verdict", "reason", "challenger")
    )
    return Retrained(verdict, reason, challenger, str(serving.metadata["version"].value))


def _why(failed: dg.ExecuteInProcessResult) -> str:
    """Return what the first step that failed said."""
    for event in failed.get_step_failure_events():
        told = event.step_failure_data.user_failure_data
        return (told.description if told else None) or f"step {event.step_key} failed"
    return "the run failed before its first step"


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Restore the handler of SIGTERM after the block.

    Dagster gives SIGTERM the handler of SIGINT and leaves it there. Where SIGINT is ignored, as in a process
    that a shell started in the background, this process and all its children would then ignore SIGTERM too.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _instance(home: Path) -> dg.DagsterInstance:
    """Return the instance in DAGSTER_HOME.

    It does not capture this process's own output: the terminal stays the caller's.
    """
    no_capture = {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
    ref = InstanceRef.from_dir(str(prepare_home(home)), overrides={"compute_logs": no_capture})
    return dg.DagsterInstance.from_ref(ref)
