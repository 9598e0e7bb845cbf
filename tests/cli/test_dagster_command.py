"""`flywheel dagster dev|webserver` on an address that is taken, and `flywheel dagster backfill`.

What these commands start is tested in `tests/system/`.
"""

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flywheel_core.lake.layout import Layout
from tests.cli.conftest import Run
from tests.cli.recorded import DAY_ONE, point, write_lines


@pytest.mark.parametrize("command", ["dev", "webserver"])
def test_a_taken_port_is_said_before_anything_starts(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """A second UI started by mistake must not create a home, or run a second daemon for half a minute."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    started: list[object] = []
    monkeypatch.setattr("os.execve", lambda *program: started.append(program))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("dagster", command, "--port", str(port))
    assert result.exit_code == 2
    assert f"error[usage_invalid]: cannot listen on 127.0.0.1:{port}: Address already in use" in result.stderr
    assert "choose another --port" in result.stderr
    assert started == []
    assert not (tmp_path / ".dagster").exists()


@pytest.mark.parametrize(
    "command", [["dagster", "webserver"], ["dagster", "dev"], ["simulate"], ["collector"]]
)
def test_an_empty_host_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    """An unset variable in `--host "$HOST"` must not open a UI without users to the whole network."""
    monkeypatch.setattr("os.execve", lambda *program: None)
    result = run(*command, "--host", "", "--port", "1234")
    assert result.exit_code == 2, result.output
    assert "cannot listen on" in result.stderr
    assert "\n  --host takes an address of this machine" in result.stderr


@pytest.mark.parametrize("command", ["dev", "webserver"])
def test_a_ui_that_others_can_reach_is_warned_of(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Anyone who reaches the UI can press its buttons, and Dagster itself says nothing."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setattr("os.execve", lambda *program: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    outside = run("dagster", command, "--host", "0.0.0.0", "--port", port)
    assert "warning: the Dagster UI has no login, and 0.0.0.0 can be reached from outside" in outside.stderr
    for host in ("127.0.0.1", "localhost"):
        assert "warning" not in run("dagster", command, "--host", host, "--port", port).stderr


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
@pytest.mark.parametrize("command", [["dagster", "webserver"], ["simulate"], ["collector"]])
def test_a_host_of_another_machine_is_not_reported_as_a_taken_port(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str], host: str
) -> None:
    monkeypatch.setenv("FLYWHEEL__COLLECTOR__ALLOW_ANONYMOUS", "true")
    result = run(*command, "--host", host, "--port", "1234")
    assert result.exit_code != 0
    assert "cannot listen on " in result.stderr
    assert "\n  --host takes an address of this machine" in result.stderr
    assert "(while" not in result.stderr


def test_a_backfill_names_the_days_without_a_raw_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six successful days of a mistyped month would look like six days of data."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    write_lines(
        tmp_path / "data" / "raw" / "training_data_20260105.jsonl", point("x", "q", DAY_ONE, qwen_max=0.1)
    )
    result = run("dagster", "backfill", "--datasets", "none", "2026-01-05", "2026-02-01..2026-02-06")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("7 of 7 days made in ")
    assert result.stderr.endswith(  # on a slow machine, progress lines come before it
        "days without a raw file: 2026-02-01, 2026-02-02, 2026-02-03, 2026-02-04, 2026-02-05 and 1 more\n"
    )


def test_a_backfill_names_what_failed_and_makes_the_other_days(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    raw = tmp_path / "data" / "raw"
    write_lines(raw / "training_data_20260105.jsonl", point("x", "q", DAY_ONE, qwen_max=0.1))
    (raw / "training_data_20260106.jsonl").mkdir()
    result = run("dagster", "backfill", "--datasets", "none", "2026-01-05..2026-01-06")
    assert result.exit_code == 1
    assert result.stdout.startswith("1 of 2 days made in ")
    (said,) = [line for line in result.stderr.splitlines() if line.startswith("2026-01-06: ")]
    assert "storage_failed" in said and "it is not a file" in said
    assert Layout(tmp_path / "data").table_days("responses") == [DAY_ONE]


def test_a_backfill_of_all_days_leaves_out_future_days(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One raw file from a clock that ran ahead must not keep all other days from being materialised."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    today = datetime.now(UTC).date()
    ahead = today + timedelta(days=40)
    for day in (DAY_ONE, ahead):
        raw = tmp_path / "data" / "raw" / f"training_data_{day:%Y%m%d}.jsonl"
        write_lines(raw, point("x", "q", day, qwen_max=0.1))
    result = run("dagster", "backfill", "--datasets", "none", "all")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 of 1 days made in ")
    assert f"1 day after today ({today}), which Dagster does not make yet: from {ahead} on\n" in result.stderr
    assert run("dagster", "backfill", str(ahead)).exit_code == 2, "who names such a day is told"


@pytest.mark.parametrize("command", ["dev", "daemon"])
def test_an_alarm_without_an_address_is_refused_before_anything_starts(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """It would be noticed only when a run fails, and then nobody would be told."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.delenv("FAILURES", raising=False)
    monkeypatch.setenv("FLYWHEEL__OPERATIONS__FAILURE_WEBHOOK_ENV", "FAILURES")
    started: list[object] = []
    monkeypatch.setattr("os.execve", lambda *program: started.append(program))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    result = run("dagster", command, *(["--port", str(port)] if command == "dev" else []))
    assert result.exit_code == 2, result.output
    assert (
        "error[config_incomplete]: operations.failure_webhook_env names the environment variable FAILURES,"
        in result.stderr
    )
    assert started == []
    assert not (tmp_path / ".dagster").exists()


def test_an_alarm_with_an_address_is_no_hindrance(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL__OPERATIONS__FAILURE_WEBHOOK_ENV", "FAILURES")
    monkeypatch.setenv("FAILURES", "http://127.0.0.1:9/")
    started: list[list[str]] = []
    monkeypatch.setattr("os.execve", lambda _path, command, _environment: started.append(command))
    run("dagster", "daemon")
    (command,) = started
    assert command[:2] == ["dagster-daemon", "run"]


def test_the_daemons_log_has_no_warning_for_each_minute(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster's daemon replaces its code server every minute, and the old one would warn that nobody needs it any more."""
    started: list[list[str]] = []
    monkeypatch.setattr("os.execve", lambda _path, command, _environment: started.append(command))
    run("dagster", "daemon")
    (command,) = started
    assert command[command.index("--code-server-log-level") + 1] == "error"
