"""Servers: an hour under load

Gateway, collector, models and scorer run at a steady rate; memory and open files are sampled every few seconds.
"""

import itertools
import re
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.collector.conftest import Start as StartCollector
from tests.gateway.world import Outside, RunningGateway
from tests.proof.conftest import Proof
from tests.proof.measure import MIB, open_files

SECONDS = 3_600
WARM_UP = 0.25
"""Share of the run that is left out, in which caches fill up and allocators reach the size that they keep."""
USERS = 4
QUESTIONS = 20_000
"""Number of different questions: more than the decision cache holds."""
MOST_GROWTH_MIB = 32


@pytest.fixture
def models(tmp_path: Path) -> Iterator[str]:
    """Run the simulated models and scorer as a process, without simulated latency, and give its address."""
    output = tmp_path / "models.log"
    command = [sys.executable, "-m", "simulation", "serve", "--port", "0", "--speed", "0"]
    with (
        output.open("wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            found = re.search(r"http://[\d.:]+", line)
            assert found is not None, f"{line!r}; {output.read_text()}"
            yield found[0]
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.proof(
    "Memory and open files stay flat under load",
    "an hour (with --soak) of chats to a gateway that collects all of them through a collector with the simulated models",
)
@pytest.mark.timeout(SECONDS + 600)
def test_an_hour_under_load(
    proof: Proof,
    request: pytest.FixtureRequest,
    models: str,
    launch: StartCollector,
    outside: Outside,
    start: Callable[..., RunningGateway],
) -> None:
    seconds = SECONDS if proof.full and request.config.getoption("--soak") else 0
    if not seconds:
        pytest.skip("an hour: make prove ARGS=--soak")
    collector = launch()
    gateway = start(_config(outside, models, f"{collector.address}/collect"))
    ends = time.monotonic() + seconds
    answers: Counter[int] = Counter()
    numbers = itertools.count()
    users = [threading.Thread(target=_ask, args=(gateway, ends, numbers, answers)) for _ in range(USERS)]
    for user in users:
        user.start()
    processes = {"gateway": gateway.process.pid, "collector": collector.process.pid}
    memory: dict[str, list[float]] = {name: [] for name in processes}
    files: dict[str, list[int]] = {name: [] for name in processes}
    while time.monotonic() < ends:
        time.sleep(min(5.0, seconds / 60))
        for name, pid in processes.items():
            memory[name].append(psutil.Process(pid).memory_info().rss / MIB)
            files[name].append(open_files(pid))
    for user in users:
        user.join()
    assert set(answers) == {200}
    proof.note(chats=answers.total(), minutes=seconds / 60)
    for name in processes:
        steady = memory[name][int(len(memory[name]) * WARM_UP) :]
        third = len(steady) // 3
        growth = statistics.median(steady[-third:]) - statistics.median(steady[:third])
        proof.note(**{f"{name}_MiB": steady[-1], f"{name}_growth_MiB": growth})
        assert growth <= MOST_GROWTH_MIB, f"{name}: {memory[name]}"
        assert max(files[name][-third:]) <= max(files[name][:third]) + 16, f"{name}: {files[name]}"


def _config(outside: Outside, models: str, collector: str) -> dict[str, Any]:
    config = outside.config(
        data_collection__storage_endpoint=collector,
        data_collection__training__candidate_models=["qwen-max", "qwen-math-7b", "qwen-code-7b"],
        data_collection__training__evaluate_endpoint=f"{models}/v1/evaluate",
        routing__default_model="qwen-max",
    )
    names = {"qwen-max": "general", "qwen-math-7b": "math", "qwen-code-7b": "code"}
    config["models"] = {name: {"category": category, "base_url": models} for name, category in names.items()}
    return config


def _ask(gateway: RunningGateway, ends: float, numbers: Iterator[int], answers: "Counter[int]") -> None:
    with httpx.Client(base_url=gateway.address, timeout=60) as client:
        while time.monotonic() < ends:
            number = next(numbers)
            body = {
                "messages": [{"role": "user", "content": f"question {number % QUESTIONS}?"}],
                "stream": number % 5 == 0,
            }
            answers[client.post("/v1/chat/completions", json=body).status_code] += 1
            time.sleep(0.02)
