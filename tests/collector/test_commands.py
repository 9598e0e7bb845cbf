"""The collector's commands: both ways to start it, an error at start, and the benchmark's last line."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from .conftest import Start, point

ROOT = Path(__file__).parents[2]


PYTHON = Path(sys.executable)


@pytest.mark.parametrize(
    "command",
    [[PYTHON, "-m", "collector_api"], [PYTHON.with_name("flywheel"), "collector"]],
    ids=["module", "flywheel"],
)
def test_both_commands_serve_the_same(tmp_path: Path, command: list[str | Path]) -> None:
    options = ["--port", "0", "--data-dir", "data", "--writer", "east"]
    with subprocess.Popen(
        [*command, *options],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            listening = json.loads(process.stdout.readline())
            assert listening["event"] == "listening"
            answer = httpx.post(
                f"{listening['address']}/collect", json={"data_points": [point(1)]}, timeout=30
            )
            assert answer.json()["count"] == 1
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr
        logged = json.loads(process.stderr.readline())
    assert logged["data_dir"] == str(tmp_path / "data"), "in full, whatever the working folder"
    assert len(list((tmp_path / "data" / "raw").glob("training_data_*.east.jsonl"))) == 1


def test_an_error_at_start_is_printed_with_its_code(tmp_path: Path) -> None:
    (tmp_path / "flywheel.yaml").write_text("collector: {port: 99999}")
    child = subprocess.run(
        [sys.executable, "-m", "collector_api"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert child.returncode == 2
    assert child.stderr.startswith("error[config_invalid]: ")
    assert "Traceback" not in child.stderr


def test_the_benchmarks_last_line_has_its_shape(launch: Start) -> None:
    peer = launch()
    options = [
        "--peer",
        peer.address,
        "--connections",
        "2",
        "--shapes",
        "small",
        "large-gateway",
        "--seconds",
        "0.3",
    ]
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.collector", *options, "--rounds", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    last = json.loads(child.stdout.splitlines()[-1])
    assert set(last) == {"benchmark", "ratios", "figures", "machine"}
    assert last["benchmark"] == "collector"
    assert set(last["ratios"]) == {"small_2", "large-gateway_2"}
    assert last["figures"]["small_2"]["flywheel"]["points_per_s"] > 0
