"""`flywheel prune` first shows what would go, and removes it only with --yes."""

import re
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from flywheel_dagster.home import prepare_home
from tests.cli.conftest import Run, parsed
from tests.cli.recorded import record
from tests.dagster.runs import run_ended

OLD = ("prune", "--keep-days", "40", "--today", "2026-03-01")
"""The command by which both recorded days are old."""


@pytest.fixture(autouse=True)
def recorded(tmp_path: Path, run: Run) -> Path:
    """A data folder with two ingested days of January 2026."""
    record(tmp_path / "data")
    assert run("ingest", "all").exit_code == 0
    return tmp_path / "data"


def test_nothing_goes_without_yes(run: Run, recorded: Path) -> None:
    shown = run(*OLD)
    assert shown.exit_code == 0
    days = ["2026-01-05", "2026-01-06"]
    assert [line.split()[:4] for line in shown.stdout.splitlines()[2:4]] == [
        ["raw", "2", *days],
        ["tables", "4", *days],
    ]
    assert "would go; --yes removes it" in shown.stdout
    assert len(list((recorded / "raw").iterdir())) == 2


def test_with_yes_it_goes_and_a_second_time_there_is_nothing(run: Run, recorded: Path) -> None:
    assert "removed" in run(*OLD, "--keep-versions", "3", "--yes").stdout
    assert list((recorded / "raw").iterdir()) == []
    assert run(*OLD, "--yes").stdout == "nothing to remove\n"
    assert run("status").exit_code == 0


def test_a_clock_far_ahead_has_to_be_confirmed(run: Run, recorded: Path) -> None:
    """Both recorded days are long past by any clock, as all days are by one that is ahead."""
    refused = run("prune", "--keep-days", "40", "--yes")
    assert refused.exit_code == 2
    assert re.search(r"is today \d{4}-\d{2}-\d{2}\?", refused.stderr.replace("\n", " "))
    assert len(list((recorded / "raw").iterdir())) == 2


def test_as_json_every_file_is_named(run: Run, recorded: Path) -> None:
    found = parsed(run(*OLD, "--json"))
    assert found["removed"] is False
    assert {(one["kind"], one["of"]) for one in found["removals"]} == {
        (kind, day) for kind in ("raw", "tables") for day in ("2026-01-05", "2026-01-06")
    }
    assert all(one["bytes"] == Path(one["path"]).stat().st_size for one in found["removals"])


def test_what_may_go_has_to_be_said(run: Run) -> None:
    result = run("prune", "--yes")
    assert result.exit_code == 2
    assert "--keep-days N, --keep-versions N, or both" in result.stderr


def test_a_day_to_count_from_without_days_to_keep_is_refused(run: Run) -> None:
    result = run("prune", "--keep-versions", "3", "--today", "2026-03-01")
    assert result.exit_code == 2
    assert "--today counts for --keep-days alone" in result.stderr


def test_dagsters_runs_of_removed_days_go_along(run: Run, tmp_path: Path) -> None:
    """The newest run stays, so of two old ones one goes."""
    home = prepare_home(tmp_path / "home")
    days = [run_ended(home, datetime(2026, 1, day, tzinfo=UTC)) for day in (5, 6)]
    named = (*OLD, "--home", str(home))
    assert ["run", "1", "2026-01-05", "2026-01-05"] in [
        line.split()[:4] for line in run(*named).stdout.splitlines()
    ]
    found = parsed(run(*named, "--json", "--yes"))
    assert found["removed"] is True
    assert [one["path"] for one in found["removals"] if one["kind"] == "run"] == [
        str(home / "history" / "runs" / f"{days[0]}.db")
    ]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert [one.run_id for one in instance.get_runs()] == days[1:]


def test_a_folder_without_dagsters_runs_is_named(run: Run, tmp_path: Path) -> None:
    """From cron, where DAGSTER_HOME is not set, runs would otherwise stay without a word."""
    told = run(*OLD, "--home", str(tmp_path / "none"))
    assert told.exit_code == 0
    assert f"Dagster has no runs in {tmp_path / 'none'}; --home names another folder" in told.stderr
