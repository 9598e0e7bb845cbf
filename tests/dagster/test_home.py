"""The folder behind DAGSTER_HOME, and that Dagster accepts what is in it."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from flywheel_cli.dagster import CODE_LOCATION
from flywheel_core.errors import StorageError
from flywheel_dagster.home import SETTINGS_FILE, prepare_home

PROJECT = Path(__file__).parents[2]


def test_the_home_is_an_instance_without_telemetry_and_with_room_for_two_runs(tmp_path: Path) -> None:
    """The settings are read back through Dagster itself."""
    home = prepare_home(tmp_path / "new" / "home")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.telemetry_enabled is False
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 2
        assert instance.run_monitoring_enabled is True


def test_preparing_again_restores_settings_and_keeps_the_rest(tmp_path: Path) -> None:
    """Only the settings file is overwritten; everything else in the folder, such as runs and events, stays."""
    home = prepare_home(tmp_path)
    (home / "history.txt").write_text("kept")
    (home / SETTINGS_FILE).write_text("telemetry: {enabled: true}")
    prepare_home(tmp_path)
    assert yaml.safe_load((home / SETTINGS_FILE).read_text())["telemetry"] == {"enabled": False}
    assert (home / "history.txt").read_text() == "kept"


def test_processes_may_create_the_home_at_the_same_time(tmp_path: Path) -> None:
    """Webserver, daemon and a backfill that start together on a new machine all come up."""
    program = "import sys; from pathlib import Path; from flywheel_dagster.home import prepare_home; prepare_home(Path(sys.argv[1]))"
    home = tmp_path / "home"
    together = [
        subprocess.Popen([sys.executable, "-c", program, str(home)], cwd=PROJECT, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in together:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_runs() == []


def test_a_home_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    """A file stands in the way."""
    (tmp_path / "home").write_text("")
    with pytest.raises(StorageError, match="cannot make the Dagster home") as caught:
        prepare_home(tmp_path / "home")
    assert caught.value.hint == "name a folder that can be written to with --home or DAGSTER_HOME"


@pytest.mark.parametrize("name", ["what?", "feature%2Fx"])
def test_a_path_that_dagster_reads_otherwise_is_refused(tmp_path: Path, name: str) -> None:
    """Dagster would make its databases in another folder, or not at all."""
    with pytest.raises(StorageError, match="means something else to its databases"):
        prepare_home(tmp_path / name / "dagster")
    assert not any(tmp_path.iterdir())


def test_a_path_with_unusual_characters_is_a_home(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "50% [a]* #1 'q' \"d\" ü" / "dagster")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_run_records(limit=1) == []


def test_a_damaged_database_gives_one_line_that_names_the_home(tmp_path: Path) -> None:
    """As on a full disk: SQLite's error by itself comes with pages of stack trace."""
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "runs.db").write_text("no database, but as long as the beginning of one" * 40)
    with pytest.raises(StorageError, match=f"cannot use its databases in {tmp_path}: file is not a database"):
        prepare_home(tmp_path)


def test_dagster_accepts_the_workspace_of_the_project_folder(tmp_path: Path) -> None:
    """`dagster definitions validate -w workspace.yaml`, as a person would run it."""
    environment = {**os.environ, "DAGSTER_HOME": str(prepare_home(tmp_path))}
    environment.pop("FLYWHEEL_CONFIG", None)
    ran = subprocess.run(
        [str(Path(sys.executable).parent / "dagster"), "definitions", "validate", "-w", "workspace.yaml"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # `flywheel dagster` uses the same name: it is by the name that Dagster remembers what was switched off
    assert f"code location {CODE_LOCATION[1]}" in ran.stdout + ran.stderr
    assert "Validation successful" in ran.stdout + ran.stderr


def test_a_wrong_configuration_is_named_when_dagster_loads(tmp_path: Path) -> None:
    """The configuration is read when definitions are loaded, and the output names the setting that is wrong."""
    wrong = tmp_path / "flywheel.yaml"
    wrong.write_text("dataset:\n  window_days: 0\n")
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(prepare_home(tmp_path / "home")),
        "FLYWHEEL_CONFIG": str(wrong),
    }
    ran = subprocess.run(
        [str(Path(sys.executable).parent / "dagster"), "definitions", "validate", "-w", "workspace.yaml"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode != 0
    assert "dataset.window_days" in ran.stdout + ran.stderr


def test_the_history_is_closed_to_other_users_in_a_home_that_is_not(tmp_path: Path) -> None:
    """It holds questions, and Dagster makes its files readable for everybody."""
    tmp_path.chmod(0o755)
    home = prepare_home(tmp_path)
    history = [path for path in home.rglob("*.db") if "history" in path.parts]
    assert history
    assert (home / "history").stat().st_mode & 0o777 == 0o750
