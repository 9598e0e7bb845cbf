"""Dagster's old runs: which may go, and their removal. Dagster itself keeps every run for good."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from pathlib import Path

import dagster as dg

from flywheel_core.learn.pruning import Removal
from flywheel_dagster.home import prepare_home, readable
from flywheel_dagster.storage import SteadySqliteEventLogStorage

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def runs_to_prune(home: Path, first_kept: date) -> list[Removal]:
    """Return the runs in `home` that ended before `first_kept`, the oldest first; none if Dagster never ran.

    A run makes no day that is still to come, so these made only days before `first_kept`. The newest run stays:
    SQLite would otherwise give the numbers of its events to later ones, and sensors would pass those over as
    seen. Raises StorageError when Dagster cannot use its databases, or `home` cannot be written.
    """
    if not has_runs(home):
        return []
    ended = dg.RunsFilter(statuses=FINISHED, updated_before=datetime.combine(first_kept, time(), UTC))
    with _opened(home) as instance:
        newest = {run.run_id for run in instance.get_runs(limit=1)}
        records = instance.get_run_records(ended, ascending=True)
    return [
        _removal(home, record.dagster_run.run_id, record.update_timestamp.date())
        for record in records
        if record.dagster_run.run_id not in newest
    ]


def has_runs(home: Path) -> bool:
    """Whether Dagster has run with `home` as its home."""
    return (home / "dagster.yaml").is_file() and (home / "history").is_dir()


def prune_runs(
    home: Path, removals: Sequence[Removal], progress: Callable[[int, int], None] | None = None
) -> None:
    """Remove runs that `runs_to_prune` returned: the run, its events, check results and captured output.

    Raises StorageError when Dagster cannot use its databases, or `home` cannot be written.
    """
    if not removals:
        return
    with _opened(home) as instance:
        for done, removal in enumerate(removals, start=1):
            run_id = removal.path.stem
            instance.compute_log_manager.delete_logs(prefix=[run_id])
            instance.event_log_storage.delete_events(run_id)
            instance.run_storage.delete_run(run_id)  # last, because the rest is found by it
            if progress:
                progress(done, len(removals))
        if isinstance(instance.event_log_storage, SteadySqliteEventLogStorage):
            instance.event_log_storage.delete_checks_of_deleted_runs()


@contextmanager
def _opened(home: Path) -> Iterator[dg.DagsterInstance]:
    """Yield the instance in `home`, whose settings are put right first.

    In a home that was copied or moved they name the events of the folder where it was.
    """
    with readable(home), dg.DagsterInstance.from_config(str(prepare_home(home))) as instance:
        yield instance


def _removal(home: Path, run_id: str, ended: date) -> Removal:
    events = home / "history" / "runs" / f"{run_id}.db"
    files = [events, *(home / "storage" / run_id).rglob("*")]
    return Removal(
        "run", ended.isoformat(), events, sum(one.stat().st_size for one in files if one.is_file())
    )
