"""What the gateway keeps in memory is bounded: decisions for later observations, and scores for their mean."""

import asyncio
import gc
import math
from pathlib import Path

import pytest

from flywheel_core.collect.answer import Answer
from flywheel_core.collect.point import Served
from flywheel_core.config import Config
from flywheel_gateway.collection import Sender
from flywheel_gateway.metrics import ACCURACY_WINDOW, Metrics
from flywheel_gateway.service import Service
from tests.gateway.world import Outside, until


def test_an_observation_finds_the_latest_decisions(
    tmp_path: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data point of one that is forgotten does not say how it was decided."""
    monkeypatch.setattr("flywheel_gateway.gateway.REMEMBERED_DECISIONS", 2)
    config = Config.model_validate(outside.config(storage__data_dir=str(tmp_path)))
    sender = Sender([], None)

    async def observe() -> list[str]:
        service = Service(lambda: config)
        async with service.running():
            ids = [(await service.gateway.route(f"question {number}", sender))[0] for number in range(3)]
            for decision_id in ids:
                body = {"messages": [{"role": "user", "content": "1 + 1?"}]}
                service.gateway.observe(body, Served("math", Answer("two"), 1), sender, decision_id)
            await asyncio.to_thread(until, lambda: len(outside.points) == 3)
        return ids

    ids = asyncio.run(observe())
    found = {point["id"]: point["classification"] for point in outside.points}
    assert found[ids[0]] is None
    assert [found[decision_id]["reason"] for decision_id in ids[1:]] == ["no_router", "no_router"]


def test_nothing_is_kept_of_points_that_are_uploaded(tmp_path: Path, outside: Outside) -> None:
    """A task that is kept after its end would be kept until the gateway ends."""
    settings = outside.config(storage__data_dir=str(tmp_path))
    settings["data_collection"]["training"] |= {"candidate_models": ["math"], "batch_size": 1}
    points = 60

    async def observe() -> int:
        service = Service(lambda: Config.model_validate(settings))
        async with service.running():
            for _ in range(points):
                body = {"messages": [{"role": "user", "content": "1 + 1?"}]}
                service.gateway.observe(body, Served("math", Answer("two"), 1), Sender([], None), None)
            await asyncio.to_thread(until, lambda: len(outside.points) == points)
            await asyncio.sleep(0)
            gc.collect()
            return sum(isinstance(one, asyncio.Task) and one.done() for one in gc.get_objects())

    assert asyncio.run(observe()) < points / 2


def test_the_accuracy_score_is_the_mean_of_the_latest_scores() -> None:
    metrics = Metrics()

    def shown() -> float | None:
        return metrics.registry.get_sample_value("semantic_router_accuracy_score")

    metrics.score(0.0)
    metrics.score(1.0)
    assert shown() == 0.5
    for _ in range(ACCURACY_WINDOW - 1):
        metrics.score(1.0)
    assert shown() == 1.0, "the first one is too old"


def test_there_is_no_accuracy_score_before_the_first_score() -> None:
    """With 0 in its place, every restart would look like a scorer that finds all answers worthless."""
    assert math.isnan(Metrics().registry.get_sample_value("semantic_router_accuracy_score") or 0.0)
