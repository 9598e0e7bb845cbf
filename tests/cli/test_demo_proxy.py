"""The demo reaches its own services also where the environment names a proxy, which cannot reach them."""

import asyncio
from pathlib import Path

import pytest

from flywheel_cli.demo_learning import wait_until_taken_up
from flywheel_cli.demo_setup import prepare, start_collector, start_gateway, start_simulation
from flywheel_cli.demo_traffic import ask_all, questions, upload
from flywheel_cli.processes import Services, free_port
from flywheel_core.lake.layout import Layout
from flywheel_core.learn.artefact import verify_router
from flywheel_core.learn.registry import Registry
from tests.core.learn.small import publish_single


def test_no_call_of_the_demo_goes_to_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = f"http://127.0.0.1:{free_port(0)}"
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, nobody)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    stage = prepare(tmp_path / "demo", usual_ports=False)
    layout = Layout(stage.config.storage.data_dir)
    version = publish_single(layout, "single", "qwen-max", ["qwen-max", "qwen-math-7b"])
    Registry(layout, verify_router).promote(version, kind="first", by="tests", reason="best", since=None)
    points = tmp_path / "points.jsonl"
    points.write_text(
        '{"question": "1 + 1?", "responses": {"qwen-max": {"model": "qwen-max", "answer": "2"}},'
        ' "scores": {"qwen-max": 1.0}, "timestamp": 1767225600}\n'
    )
    with Services(stage.logs) as services:
        for start in (start_simulation, start_collector, start_gateway):
            start(services, stage)
        asked = questions(stage.simulation, "training", 0, 2)
        replies = asyncio.run(ask_all(stage.gateway, asked, lambda *_: None, collect=False))
        assert [reply.question for reply in replies] == asked
        assert upload(f"{stage.collector}/collect", points, lambda *_: None) == 1
        wait_until_taken_up(stage, version)
