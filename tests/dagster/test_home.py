"""The folder behind DAGSTER_HOME, and whether Dagster takes what is in it."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import yaml

from flywheel_dagster.home import SETTINGS_FILE, prepare_home

PROJECT = Path(__file__).parents[2]


def test_the_home_is_an_instance_without_telemetry_and_with_room_for_two_runs(tmp_path: Path) -> None:
    """Dagster itself reads the settings and gives them back."""
    home = prepare_home(tmp_path / "new" / "home")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.telemetry_enabled is False
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 2
        assert instance.run_monitoring_enabled is True


def test_preparing_again_restores_settings_and_keeps_the_rest(tmp_path: Path) -> None:
    """Only the settings are ours; runs and events in the folder stay."""
    home = prepare_home(tmp_path)
    (home / "history.txt").write_text("kept")
    (home / SETTINGS_FILE).write_text("telemetry: {enabled: true}")
    prepare_home(tmp_path)
    assert yaml.safe_load((home / SETTINGS_FILE).read_text())["telemetry"] == {"enabled": False}
    assert (home / "history.txt").read_text() == "kept"
    assert sorted(path.name for path in home.iterdir()) == [SETTINGS_FILE, "history.txt"]


def test_dagster_takes_the_workspace_from_the_project_folder(tmp_path: Path) -> None:
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
    assert "flywheel" in ran.stdout + ran.stderr
    assert "Validation successful" in ran.stdout + ran.stderr


def test_a_wrong_configuration_is_named_when_dagster_loads(tmp_path: Path) -> None:
    """The configuration is read when definitions are loaded, and what is wrong with it reaches the person."""
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
