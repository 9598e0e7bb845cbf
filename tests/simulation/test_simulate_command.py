"""The simulation's commands, run as separate processes."""

import json
import math
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from flywheel_core.errors import UsageError
from simulation.command import simulate
from simulation.faults import Faults
from simulation.service import Service

ROOT = Path(__file__).parents[2]


@contextmanager
def _serve(*options: str) -> Iterator[subprocess.Popen[str]]:
    """Run the simulation; when the test fails it is killed, because leaving the block waits for it."""
    command = [sys.executable, "-m", "simulation", "serve", "--port", "0", *options]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


AT_ONCE = """
import os, signal, sys
import click
from simulation.command import simulate

number = signal.Signals[sys.argv[1]]
signal.signal(number, signal.SIG_IGN)
said = click.echo

def said_and_signalled(line):
    said(line)
    os.kill(os.getpid(), number)

click.echo = said_and_signalled
simulate.main(["--port", "0"], standalone_mode=False)
"""
"""Start the simulation with a signal ignored, and send it that signal right after its first line of output."""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_serve_prints_its_address_and_ends_on_a_signal(end: signal.Signals) -> None:
    """It prints its address once it listens, injects the faults that its options ask for, and ends on a signal."""
    with _serve(
        "--speed", "0", "--questions", "validation", "--error-rate", "1", "--error-status", "503"
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = re.search(r"http://\S+:\d+", line)
        assert url is not None, line
        assert "simulated models: 13; questions: 3200 for training, 800 for validation" in line
        with httpx.Client(base_url=url.group(), timeout=20) as http:
            assert len(http.get("/questions").json()["questions"]) == 800
            body = {"model": "qwen-max", "messages": [{"role": "user", "content": "hi"}]}
            assert http.post("/v1/chat/completions", json=body).status_code == 503
        process.send_signal(end)
        _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_right_after_the_first_line_is_not_lost(number: str) -> None:
    """Not even when it was started with that signal ignored, as shells and Dagster may do."""
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE, number],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.startswith("simulation on http://")
    assert (done.returncode, done.stderr) == (0, "")


def test_recorded_file_by_option(tmp_path: Path) -> None:
    """`--recorded` serves the models in that file."""
    path = tmp_path / "points.jsonl"
    path.write_text(
        json.dumps({"question": "q", "responses": {"m": {"answer": "a"}}, "scores": {"m": 1}}) + "\n"
    )
    with _serve("--recorded", str(path)) as process:
        assert process.stdout is not None
        assert "recorded models: 1;" in process.stdout.readline()
        process.terminate()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--error-rate", "2"], "error_rate"),
        (["--error-rate", "0.7", "--cut-rate", "0.7"], "add up"),
        (["--error-status", "nan"], "--error-status"),
    ],
)
def test_a_bad_fault_option_gives_a_message(options: list[str], told: str) -> None:
    """The message names the option, without a traceback, and the exit status is 2."""
    with _serve(*options) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert told in errors
    assert "Traceback" not in errors


def test_a_port_in_use_gives_a_message() -> None:
    """When another server has the port, the message names the option to change, without a traceback."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        _serve("--port", str(taken.getsockname()[1])) as process,
    ):
        _, errors = process.communicate(timeout=60)
    assert process.returncode == UsageError.exit_status
    assert "--port" in errors
    assert "Traceback" not in errors


def test_a_speed_that_is_no_number_is_refused() -> None:
    with pytest.raises(UsageError, match="speed is nan"):
        Service(speed=math.nan)


def test_every_fault_has_an_option() -> None:
    """Each field of `Faults` can be set at start, except the list of models."""
    names = {parameter.name for parameter in simulate.params}
    assert {f"fault_{name}" for name in Faults.__struct_fields__} - names == {"fault_models"}
    assert "made up" in CliRunner().invoke(simulate, ["--help"]).output


def test_sample_command_writes_the_sample(tmp_path: Path) -> None:
    """`python -m simulation sample --out FOLDER` writes seven files and names them."""
    command = [sys.executable, "-m", "simulation", "sample", "--out", str(tmp_path / "sample")]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert len(list((tmp_path / "sample").iterdir())) == len(done.stdout.splitlines()) == 7
