"""The processes that `python -m benchmarks.gateway` runs: model and scorer, Flywheel's servers, LiteLLM."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.common import free_port, wait_until_listening
from flywheel_core.config import DEFAULT_CANDIDATES

KEY = "sk-1234567890abcdef"
START_SECONDS = 240


@dataclass(frozen=True)
class Running:
    """A process under measurement and the port that it listens on."""

    name: str
    port: int
    process: psutil.Process | None


@contextlib.contextmanager
def child(
    command: Sequence[str], log: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a child process whose first line of output can be read; ended at the end of the block."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            cwd=log.parent,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **(environment or {})},
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def model(folder: Path, model_ms: float) -> Iterator[int]:
    """Run the model and scorer; yields their port."""
    command = [sys.executable, "-m", "benchmarks.gateway_model", "--model-ms", str(model_ms)]
    with child(command, folder / "model.log") as process:
        yield int(first_line(process, folder / "model.log"))


@contextlib.contextmanager
def listening(name: str, module: str, folder: Path, *arguments: str) -> Iterator[Running]:
    """Run one of Flywheel's servers; ready once it has printed its `listening` line."""
    log = folder / f"{name}.log"
    with child([sys.executable, "-m", module, "--port", "0", *arguments], log) as process:
        port = int(json.loads(first_line(process, log))["address"].rpartition(":")[2])
        yield Running(name, port, psutil.Process(process.pid))


@contextlib.contextmanager
def flywheel(folder: Path, model_port: int, collector_port: int | None) -> Iterator[Running]:
    """Run Flywheel's gateway; with a collector's port, it collects every request."""
    address = f"http://127.0.0.1:{model_port}"
    config = {
        "data_collection": {
            "enabled": collector_port is not None,
            "storage_endpoint": f"http://127.0.0.1:{collector_port or 1}/collect",
            "training": {"evaluate_endpoint": f"{address}/v1/evaluate", "flush_interval": 1},
        },
        "models": {name: {"category": "general", "base_url": address} for name in DEFAULT_CANDIDATES},
    }
    kind = "plain" if collector_port is None else "collecting"
    file = folder / f"{kind}.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    arguments = ("--config", str(file), "--data-dir", str(folder / f"data-{kind}"))
    with listening(f"flywheel-{kind}", "flywheel_gateway", folder, *arguments) as running:
        yield running


@contextlib.contextmanager
def litellm(folder: Path, model_port: int) -> Iterator[Running]:
    """Run the LiteLLM proxy with one worker."""
    from benchmarks.litellm import environment

    parameters = {
        "model": "openai/qwen-max",
        "api_base": f"http://127.0.0.1:{model_port}/v1",
        "api_key": "none",
    }
    config = {
        "model_list": [{"model_name": "qwen-max", "litellm_params": parameters}],
        "litellm_settings": {"telemetry": False},
    }
    (folder / "litellm.yaml").write_text(json.dumps(config), encoding="utf-8")
    port = free_port()
    command = [str(environment() / "bin" / "litellm"), "--config", str(folder / "litellm.yaml")]
    command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    quiet = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    with child([*command], folder / "litellm.log", quiet) as process:
        wait_until_listening(port, process, seconds=START_SECONDS, log=folder / "litellm.log")
        yield Running("litellm", port, psutil.Process(process.pid))


def first_line(process: subprocess.Popen[str], log: Path) -> str:
    """Return the first line that a child prints. Raises SystemExit, with the log, if there is none."""
    if process.stdout is None or not (line := process.stdout.readline()):
        raise SystemExit(f"a process did not start:\n{log.read_text()}")
    return line
