"""Which of Dagster's runs may go, and that nothing of those removed stays."""

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, time
from pathlib import Path

import dagster as dg
import pytest

from flywheel_dagster.history import prune_runs, runs_to_prune
from flywheel_dagster.home import prepare_home
from flywheel_dagster.storage import SteadySqliteEventLogStorage
from tests.dagster.runs import looked_at, run_ended, something

FIRST_KEPT = date(2026, 3, 1)


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return prepare_home(tmp_path / "home")


def test_runs_of_earlier_days_go_with_all_that_belongs_to_them(home: Path) -> None:
    old = run_ended(home, midnight(FIRST_KEPT).replace(day=1, month=2))
    kept = run_ended(home, midnight(FIRST_KEPT))
    newest = run_ended(home, midnight(FIRST_KEPT).replace(day=2))
    found = runs_to_prune(home, FIRST_KEPT)
    assert [(one.kind, one.of, one.path.stem) for one in found] == [("run", "2026-02-01", old)]
    assert found[0].bytes > 100_000
    assert (home / "storage" / old).is_dir()
    prune_runs(home, found)
    assert runs_to_prune(home, FIRST_KEPT) == []
    assert [path for path in home.rglob("*") if old in path.name] == []
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert [run.run_id for run in instance.get_runs()] == [newest, kept]
        results = instance.event_log_storage.get_asset_check_execution_history(looked_at.check_key, limit=9)
        assert [result.run_id for result in results] == [newest, kept]
        assert instance.get_latest_materialization_event(something.key) is not None
        assert instance.all_logs(kept)


def test_the_newest_run_stays_so_that_later_events_get_new_numbers(home: Path) -> None:
    """Sensors remember the number of the last event that they saw."""
    runs = [run_ended(home, midnight(date(2026, 2, day))) for day in (1, 2, 3)]
    told: list[tuple[int, int]] = []

    def newest() -> int:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            changes = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_SUCCESS, limit=9)
            return changes.records[0].storage_id

    before = newest()
    found = runs_to_prune(home, FIRST_KEPT)
    assert [one.path.stem for one in found] == runs[:2], "the oldest first"
    prune_runs(home, found, lambda *places: told.append(places))
    assert told == [(1, 2), (2, 2)]
    run_ended(home, midnight(FIRST_KEPT))
    assert newest() > before


def test_a_run_that_has_not_ended_stays_however_old_it_is(home: Path) -> None:
    """As one that waits, or that is going on since before the days that are kept."""
    old = [run_ended(home, midnight(date(2026, 2, day))) for day in (1, 2, 3)]
    with closing(sqlite3.connect(home / "history" / "runs.db")) as runs, runs:
        runs.execute("update runs set status = 'STARTED' where run_id = ?", (old[0],))
    assert [one.path.stem for one in runs_to_prune(home, FIRST_KEPT)] == [old[1]]


def test_after_a_kill_half_way_the_next_prune_finds_the_run(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's own file is found by the run: it would stay for good if the run went first."""
    runs = [run_ended(home, midnight(date(2026, 2, day))) for day in (1, 2)]

    def killed(storage: SteadySqliteEventLogStorage, run_id: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(SteadySqliteEventLogStorage, "delete_events", killed)
        prune_runs(home, runs_to_prune(home, FIRST_KEPT))
    prune_runs(home, runs_to_prune(home, FIRST_KEPT))
    assert [path for path in home.rglob("*") if runs[0] in path.name] == []


def test_runs_of_a_copied_home_go_from_the_copy_alone(home: Path, tmp_path: Path) -> None:
    """As of a backup that was restored elsewhere: its settings still name the folder that it was copied from."""
    runs = [run_ended(home, midnight(date(2026, 2, day))) for day in (1, 2)]
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    prune_runs(copy, runs_to_prune(copy, FIRST_KEPT))
    assert [path for path in copy.rglob("*") if runs[0] in path.name] == []
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.all_logs(runs[0])


def test_without_a_home_there_are_no_runs(tmp_path: Path) -> None:
    assert runs_to_prune(tmp_path / "none", FIRST_KEPT) == []
    assert not (tmp_path / "none").exists()
