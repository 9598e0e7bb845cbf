"""One question that names no model, from the gateway to a line in a raw file, through real processes."""

import time
from pathlib import Path

import httpx
import psutil
import pytest

from flywheel_cli.demo_setup import Stage, prepare, start_collector, start_gateway, start_simulation
from flywheel_cli.processes import Services
from flywheel_core.lake.layout import Layout
from flywheel_core.records import DataPoint
from flywheel_core.wire import decode_point

QUESTION = "求解方程 x^2 + 2x - 3 = 0"


def wait_for_line(layout: Layout, seconds: float = 60.0) -> bytes:
    """Return the only line of the raw files as soon as it is there; fail when there is none after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        lines = [
            line
            for day in layout.raw_days()
            for path in layout.raw_files(day)
            for line in path.read_bytes().split(b"\n")
            if line
        ]
        if lines:
            assert len(lines) == 1
            return lines[0]
        time.sleep(0.1)
    raise AssertionError("no data point was stored")


def ask(stage: Stage) -> httpx.Response:
    """Ask the gateway the question, without naming a model."""
    return httpx.post(
        f"{stage.gateway}/v1/chat/completions",
        headers={"Content-Type": "application/json"},
        content=f'{{"messages": [{{"role": "user", "content": "{QUESTION}"}}]}}'.encode(),
        timeout=30.0,
    )


@pytest.mark.system
def test_a_question_becomes_a_scored_data_point_on_disk(tmp_path: Path) -> None:
    stage = prepare(tmp_path / "stage", usual_ports=False)
    layout = Layout(stage.config.storage.data_dir)
    with Services(stage.logs) as services:
        for start in (start_simulation, start_collector, start_gateway):
            start(services, stage)
        answer = ask(stage)
        assert answer.status_code == httpx.codes.OK
        content = answer.json()["choices"][0]["message"]["content"]
        point: DataPoint = decode_point(wait_for_line(layout))
        stats = httpx.get(f"{stage.simulation}/admin/stats").json()
    models = stage.config.data_collection.training.candidate_models
    assert point.question == QUESTION
    assert set(point.responses) == set(point.scores) == set(models)
    assert all(score is not None and 0.0 <= score <= 1.0 for score in point.scores.values())
    assert all(
        not response.failed and response.latency_ms is not None for response in point.responses.values()
    )
    assert point.served_model == answer.headers["x-flywheel-model"] == stage.config.routing.default_model
    assert point.responses[point.served_model].answer == content
    assert point.decision_id == answer.headers["x-flywheel-decision"]
    assert point.mode == "training"
    requests = {name: counts["requests"] for name, counts in stats["models"].items()}
    assert {requests.get(model, 0) for model in models} == {1}, (
        "each model is asked once, the one that answered too"
    )


@pytest.mark.system
def test_fault_25_the_check_reads_the_files_waits_for_the_flush_and_leaves_no_process(tmp_path: Path) -> None:
    """With the flush a minute away nothing is stored, and the check fails; a stop flushes; no process is left."""
    stage = prepare(tmp_path / "stage", usual_ports=False)
    settings = stage.config_file.read_text(encoding="utf-8")
    stage.config_file.write_text(
        settings.replace("flush_interval: 1\n", "flush_interval: 60\n"), encoding="utf-8"
    )
    layout = Layout(stage.config.storage.data_dir)
    with Services(stage.logs) as services:
        started = [
            start(services, stage).process for start in (start_simulation, start_collector, start_gateway)
        ]
        trees = [psutil.Process(process.pid) for process in started]
        trees += [child for process in trees for child in process.children(recursive=True)]
        assert ask(stage).status_code == httpx.codes.OK
        with pytest.raises(AssertionError, match="no data point was stored"):
            wait_for_line(layout, seconds=4.0)  # long enough for a flush every second
        started[-1].terminate()
        assert started[-1].wait(30) == 0
        assert decode_point(wait_for_line(layout)).question == QUESTION
    assert [process for process in trees if process.is_running()] == []
