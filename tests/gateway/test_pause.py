"""A router that takes too long is not asked for every prompt: users get the default model at once."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from flywheel_core.config import Config
from flywheel_core.learn.decision import Decision
from flywheel_gateway import routing
from flywheel_gateway.pause import MOST_IN_A_ROW, Pause
from flywheel_gateway.routing import Decider
from tests.gateway.test_router_in_service import promote, quiet, registry_of, serving
from tests.gateway.world import Outside, RunningGateway, until

CONFIG = Config.model_validate({"routing": {"timeout": 0.05}})
MODELS = ("qwen-max", "qwen-math-7b")


class WaitingRouter:
    """A router that decides once `gate` is set."""

    def __init__(self, version: str = "v1") -> None:
        self.version = version
        self.gate = threading.Event()

    def decide(self, prompt: str) -> Decision:
        self.gate.wait()
        return Decision("qwen-math-7b", "math", 0.9, "router", self.version)


def events(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in log.records]


def test_after_some_late_decisions_prompts_no_longer_wait_for_the_router(
    caplog: pytest.LogCaptureFixture,
) -> None:
    router = WaitingRouter()

    async def scenario() -> None:
        decider = Decider(CONFIG, MODELS, router)
        for number in range(4 * MOST_IN_A_ROW):
            assert decider.paused == (number >= MOST_IN_A_ROW)
            decision = await decider.decide(f"prompt {number}")
            assert (decision.model, decision.reason) == ("qwen-max", "fallback")
        router.gate.set()
        decider.close()

    asyncio.run(scenario())
    assert sorted(events(caplog)) == ["router_paused"] + ["router_too_slow"] * MOST_IN_A_ROW


def test_a_router_that_is_fast_again_is_asked_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "RETRY_SECONDS", 0.0)
    router = WaitingRouter()
    slow = CONFIG.routing.model_copy(update={"timeout": 0.5})

    async def scenario() -> None:
        decider = Decider(CONFIG.model_copy(update={"routing": slow}), MODELS, router)
        for number in range(MOST_IN_A_ROW + 1):
            await decider.decide(f"prompt {number}")
        assert decider.paused
        router.gate.set()
        decisions = [await decider.decide(f"later {number}") for number in range(MOST_IN_A_ROW + 2)]
        assert decisions[-1].reason == "router"
        assert not decider.paused
        decider.close()

    asyncio.run(scenario())
    assert events(caplog).count("router_paused") == 1
    assert events(caplog).count("router_asked_again") == 1


def test_another_router_is_asked_though_the_one_before_never_returns() -> None:
    """A rollback is the remedy, and must not need a restart because all threads wait for the old router."""
    old, new = WaitingRouter("old"), WaitingRouter("new")
    new.gate.set()
    slow = CONFIG.routing.model_copy(update={"timeout": 0.5})

    async def scenario() -> None:
        decider = Decider(CONFIG.model_copy(update={"routing": slow}), MODELS, old)
        for number in range(MOST_IN_A_ROW):
            await decider.decide(f"prompt {number}")
        assert decider.paused
        decider.take_up(new)
        assert not decider.paused
        decision = await decider.decide("prompt")
        assert (decision.router_version, decision.reason) == ("new", "router")
        old.gate.set()
        decider.close()

    asyncio.run(scenario())


def test_during_a_pause_one_prompt_at_a_time_is_a_trial() -> None:
    now = [100.0]
    found = Pause(10.0, lambda: now[0])
    for _ in range(MOST_IN_A_ROW - 1):
        assert found.allows()
        assert not found.failed()
    assert not found.worked()
    begins = []
    for _ in range(MOST_IN_A_ROW):
        assert found.allows()
        begins.append(found.failed())
    assert begins == [False] * (MOST_IN_A_ROW - 1) + [True]
    assert not found.allows()
    for _ in range(3):
        now[0] += 10.0
        assert [found.allows() for _ in range(3)] == [True, False, False]
        assert not found.failed()
    now[0] += 10.0
    assert found.allows()
    assert found.worked()
    assert [found.allows() for _ in range(3)] == [True] * 3


def test_a_paused_router_is_reported(outside: Outside, start: Callable[..., RunningGateway]) -> None:
    """With this limit every decision is late; the client still gets its answer."""
    gateway = start({**quiet(outside), "routing": {"default_model": "big", "timeout": 1e-9}})
    promote(registry_of(gateway), "to-math")
    until(lambda: serving(gateway) == "to-math")
    assert gateway.get("/ready").json()["router_paused"] is False
    assert gateway.metric("flywheel_gateway_router_paused") == 0
    for number in range(MOST_IN_A_ROW + 1):
        headers = gateway.chat(f"question {number}").headers
        assert (headers["x-flywheel-model"], headers["x-flywheel-reason"]) == ("big", "fallback")
    assert gateway.get("/ready").json()["router_paused"] is True
    assert gateway.metric("flywheel_gateway_router_paused") == 1
    assert '"event": "router_paused"' in gateway.log()
