"""One question without a model, from the gateway to a line in a raw file, through real processes."""

import time
from pathlib import Path

import httpx
import pytest

from flywheel_cli.demo_setup import prepare, start_collector, start_gateway, start_simulation
from flywheel_cli.processes import Services
from flywheel_core.lake.layout import Layout
from flywheel_core.records import DataPoint
from flywheel_core.wire import decode_point

QUESTION = "求解方程 x^2 + 2x - 3 = 0"


def wait_for_line(layout: Layout) -> bytes:
    """The one line of the raw files, as soon as it is there."""
    deadline = time.monotonic() + 60
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


@pytest.mark.system
def test_a_question_becomes_a_scored_data_point_on_disk(tmp_path: Path) -> None:
    stage = prepare(tmp_path / "stage", usual_ports=False)
    layout = Layout(stage.config.storage.data_dir)
    with Services(stage.logs) as services:
        for start in (start_simulation, start_collector, start_gateway):
            start(services, stage)
        answer = httpx.post(
            f"{stage.gateway}/v1/chat/completions",
            headers={"Content-Type": "application/json"},
            content='{"messages": [{"role": "user", "content": "求解方程 x^2 + 2x - 3 = 0"}]}'.encode(),
            timeout=30.0,
        )
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
