"""Decisions: the router in service, its time limit and its failures."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from flywheel_core.config import Config
from flywheel_core.errors import RouterError
from flywheel_core.learn.decision import Decision
from flywheel_gateway.routing import MAX_TOLD, Decider

MODELS = ("qwen-max", "qwen-math-7b")


class CountingRouter:
    """A router that chooses `model` after `seconds` and counts its calls; it fails on the prompts `broken` and `fault`."""

    version = "v1"

    def __init__(self, seconds: float = 0.0, model: str = "qwen-math-7b") -> None:
        self.calls = 0
        self._seconds = seconds
        self._model = model
        self._lock = threading.Lock()

    def decide(self, prompt: str) -> Decision:
        with self._lock:
            self.calls += 1
        time.sleep(self._seconds)
        if prompt == "broken":
            raise RouterError("the router is broken")
        if prompt == "fault":
            raise ZeroDivisionError
        return Decision(self._model, "math", 0.9, "router", self.version, {self._model: 0.8})


def decide(config: Config, router: CountingRouter | None, *prompts: str) -> list[Decision]:
    """Return the decisions on prompts that arrive at the same time."""

    async def all_at_once() -> list[Decision]:
        decider = Decider(config, MODELS, router)
        try:
            return await asyncio.gather(*map(decider.decide, prompts))
        finally:
            decider.close()

    return asyncio.run(all_at_once())


def test_the_router_decides() -> None:
    (decision,) = decide(Config(), CountingRouter(), "1 + 1?")
    assert decision == Decision("qwen-math-7b", "math", 0.9, "router", "v1", {"qwen-math-7b": 0.8})


def test_without_a_question_or_without_a_router_it_is_the_default_model() -> None:
    router = CountingRouter()
    (decision,) = decide(Config(), router, "")
    assert decision == Decision("qwen-max", "general", 0.5, "no_prompt")
    assert router.calls == 0
    (decision,) = decide(Config(), None, "1 + 1?")
    assert decision == Decision("qwen-max", "general", 0.5, "no_router")


def test_a_model_that_the_client_named_is_certain_and_has_its_own_category() -> None:
    decider = Decider(Config(), MODELS)
    assert decider.requested("qwen-math-7b") == Decision("qwen-math-7b", "math", 1.0, "requested")
    decider.close()


def test_equal_prompts_at_the_same_time_are_decided_once() -> None:
    router = CountingRouter(seconds=0.1)
    decisions = decide(Config(), router, *["same"] * 50, "other")
    assert router.calls == 2
    assert sorted(decision.reason for decision in decisions) == ["cache"] * 49 + ["router"] * 2
    assert {decision.model for decision in decisions} == {"qwen-math-7b"}


def test_without_a_cache_every_prompt_is_decided() -> None:
    router = CountingRouter()
    config = Config.model_validate({"cache": {"enabled": False}})
    decisions = decide(config, router, *["same"] * 5)
    assert router.calls == 5
    assert {decision.reason for decision in decisions} == {"router"}


def test_a_slow_router_falls_back_to_the_default_model(caplog: pytest.LogCaptureFixture) -> None:
    config = Config.model_validate({"routing": {"timeout": 0.05}})
    (decision,) = decide(config, CountingRouter(seconds=0.5), "1 + 1?")
    assert decision == Decision("qwen-max", "general", 0.5, "fallback", "v1")
    (record,) = caplog.records
    assert (record.message, vars(record)["router"], vars(record)["seconds"]) == (
        "router_too_slow",
        "v1",
        0.05,
    )


HANGS = """
import asyncio, threading
from flywheel_core.config import Config
from flywheel_gateway.routing import Decider

class Router:
    version = "v1"
    def decide(self, prompt):
        threading.Event().wait()

async def main():
    decider = Decider(Config.model_validate({"routing": {"timeout": 0.05}}), ["qwen-max"], Router())
    print((await decider.decide("1 + 1?")).reason)
    decider.close()

asyncio.run(main())
"""


def test_a_router_that_never_returns_does_not_hold_up_the_end_of_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "fallback\n"), done.stderr


def test_why_a_router_fails_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """After a model was retired its router may choose it at every request, until the next router."""
    router = CountingRouter(model="retired")
    decisions = decide(Config(), router, "one", "two", "three")
    assert [decision.reason for decision in decisions] == ["fallback"] * 3
    (record,) = caplog.records
    assert (record.levelname, record.message, record.exc_info) == ("WARNING", "router_failed", None)
    assert "chose retired" in vars(record)["reason"]


def test_a_fault_of_the_routers_code_is_logged_once_with_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    async def decisions() -> list[str]:
        decider = Decider(Config(), MODELS, CountingRouter())
        reasons = [(await decider.decide("fault")).reason for _ in range(3)]
        decider.close()
        return reasons

    assert asyncio.run(decisions()) == ["fallback"] * 3
    (record,) = caplog.records
    assert (record.levelname, record.message) == ("ERROR", "router_failed")
    assert record.exc_info is not None and record.exc_info[0] is ZeroDivisionError


def test_another_reason_or_another_router_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def decisions() -> None:
        decider = Decider(Config(), MODELS, CountingRouter(model="retired"))
        for prompt in ("one", "broken", "broken", "two"):
            await decider.decide(prompt)
        decider.take_up(CountingRouter())
        await decider.decide("broken")
        decider.close()

    asyncio.run(decisions())
    reasons = [vars(record)["reason"].partition(",")[0] for record in caplog.records]
    assert reasons == ["router v1 chose retired", "the router is broken", "the router is broken"]


def test_a_router_whose_reasons_never_end_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    class Choosing(CountingRouter):
        def decide(self, prompt: str) -> Decision:
            return Decision(prompt, "math", 0.9, "router", self.version)

    decisions = decide(Config(), Choosing(), *(f"model-{number}" for number in range(MAX_TOLD + 20)))
    assert {decision.reason for decision in decisions} == {"fallback"}
    assert len(caplog.records) == MAX_TOLD


def test_a_failing_router_falls_back_and_is_asked_again() -> None:
    router = CountingRouter()
    decisions = decide(Config(), router, "broken", "fine")
    assert [decision.reason for decision in decisions] == ["fallback", "router"]

    async def twice() -> None:
        decider = Decider(Config(), MODELS, router)
        await decider.decide("broken")
        await decider.decide("broken")
        decider.close()

    before = router.calls
    asyncio.run(twice())
    assert router.calls == before + 2


def test_a_model_that_cannot_be_asked_is_not_chosen() -> None:
    (decision,) = decide(Config(), CountingRouter(model="gone"), "1 + 1?")
    assert (decision.model, decision.reason) == ("qwen-max", "fallback")


def test_a_new_router_does_not_use_cached_decisions_of_the_old_one() -> None:
    class Next(CountingRouter):
        version = "v2"

    async def exchange() -> list[Decision]:
        decider = Decider(Config(), MODELS, CountingRouter())
        first = await decider.decide("same")
        decider.take_up(Next(model="qwen-max"))
        second = await decider.decide("same")
        decider.take_up(None)
        third = await decider.decide("same")
        decider.close()
        return [first, second, third]

    decisions = asyncio.run(exchange())
    assert [(one.model, one.reason) for one in decisions] == [
        ("qwen-math-7b", "router"),
        ("qwen-max", "router"),
        ("qwen-max", "no_router"),
    ]


@pytest.mark.parametrize("cached", [True, False])
def test_waiting_decisions_survive_a_change_of_the_configuration(cached: bool) -> None:
    """The old decider is closed while both its threads are busy and further decisions wait for one."""

    async def change() -> list[Decision]:
        go_on = threading.Event()

        class Waiting(CountingRouter):
            def decide(self, prompt: str) -> Decision:
                assert go_on.wait(20)
                return super().decide(prompt)

        config = Config.model_validate({"cache": {"enabled": cached}})
        decider = Decider(config, MODELS, Waiting())
        tasks = [asyncio.create_task(decider.decide(f"question {number}")) for number in range(6)]
        for _ in range(5):  # iterations of the event loop in which all of them ask for a thread
            await asyncio.sleep(0)
        decider.close()
        go_on.set()
        return await asyncio.gather(*tasks)

    assert {decision.reason for decision in asyncio.run(change())} == {"router"}
