"""The event log that keeps its connections open: it stores what Dagster's own does, within a bound of open files."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage

from flywheel_dagster import storage
from flywheel_dagster.home import prepare_home

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dg.asset
def something() -> None:
    """An asset without content: its materialization is what the log keeps."""


@dg.asset_check(asset=something)
def looked_at() -> dg.AssetCheckResult:
    """A check whose result the log keeps."""
    return dg.AssetCheckResult(passed=True)


def _run(instance: dg.DagsterInstance) -> str:
    return dg.materialize([something, looked_at], instance=instance, run_config=QUIET).run_id


def _log(instance: dg.DagsterInstance, run: str) -> list[str]:
    return [str(entry.message) for entry in instance.all_logs(run)]


def test_more_runs_than_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run's log can be read after its connection was closed to open another, also by Dagster's own storage."""
    monkeypatch.setattr(storage, "MAX_OPEN", 2)
    with dg.DagsterInstance.from_config(str(prepare_home(tmp_path))) as instance:
        used = instance.event_log_storage
        assert isinstance(used, storage.SteadySqliteEventLogStorage)
        runs = [_run(instance) for _ in range(4)]
        logs = {run: _log(instance, run) for run in runs}
        assert all(any("succeeded" in line or "Finished" in line for line in log) for log in logs.values())
        assert len(used._open) <= 2
        plain = SqliteEventLogStorage(str(tmp_path / "history" / "runs"))
        assert {run: [entry.message for entry in plain.get_logs_for_run(run)] for run in runs} == logs
        assert len(instance.get_materialized_partitions(something.key)) == 0
        assert instance.get_latest_materialization_event(something.key) is not None


def test_check_results_of_deleted_runs_go(tmp_path: Path) -> None:
    """Those of other runs stay."""
    with dg.DagsterInstance.from_config(str(prepare_home(tmp_path))) as instance:
        runs = [_run(instance) for _ in range(2)]
        instance.delete_run(runs[0])
        used = instance.event_log_storage
        assert isinstance(used, storage.SteadySqliteEventLogStorage)
        used.delete_checks_of_deleted_runs()
        results = used.get_asset_check_execution_history(looked_at.check_key, limit=9)
        assert [result.run_id for result in results] == runs[1:]


def test_a_deleted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """Its events are gone, and the next run starts clean."""
    with dg.DagsterInstance.from_config(str(prepare_home(tmp_path))) as instance:
        run = _run(instance)
        assert _log(instance, run)
        instance.delete_run(run)
        assert list((tmp_path / "history" / "runs").glob(f"{run}*")) == []
        assert _log(instance, run) == []
        instance.wipe()
        assert _log(instance, _run(instance))


def test_a_run_that_another_process_deleted_is_not_found_any_more(tmp_path: Path) -> None:
    """As by `flywheel prune` beside a running daemon: the file that is gone may still be open here."""
    home = str(prepare_home(tmp_path))
    with dg.DagsterInstance.from_config(home) as running, dg.DagsterInstance.from_config(home) as other:
        run = _run(running)
        assert _log(running, run)
        other.delete_run(run)
        assert _log(running, run) == []
        assert _log(running, _run(running))


def test_a_run_that_was_deleted_after_its_connection_was_closed_is_not_found_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is made anew when somebody looks at it, and has no tables then."""
    monkeypatch.setattr(storage, "MAX_OPEN", 2)
    home = str(prepare_home(tmp_path))
    with dg.DagsterInstance.from_config(home) as running, dg.DagsterInstance.from_config(home) as other:
        runs = [_run(running) for _ in range(3)]
        other.delete_run(runs[0])
        assert _log(running, runs[0]) == []
