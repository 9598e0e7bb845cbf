"""Which failures of a model are retried, when, and how often."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flywheel_core.collect import Fanout
from flywheel_core.collect.http import Reply as HttpReply
from flywheel_core.collect.retries import full_jitter, retry_after
from tests.core.collect.asking import run
from tests.core.collect.outside import Outside, Reply, as_json, chat


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_temporary_failures_are_tried_again(status: int) -> None:
    """After one 429 or 5xx an answer comes: it counts, with the latency of the attempt that gave it."""

    async def act(world: Outside) -> None:
        replies = iter([Reply(status, delay=1.0), chat("42")])
        world.model("general", lambda _: next(replies))
        async with Fanout(world.config(["general"])) as fanout:
            point = await fanout.collect("q")
            assert fanout.stats()["retries"] == {"general": 1}
        assert point.responses["general"].answer == "42"
        assert (point.responses["general"].latency_ms or 0) < 1_000

    run(act)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_other_refusals_are_not_tried_again(status: int) -> None:
    """Any other 4xx would not get better."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: Reply(status))
        async with Fanout(world.config(["general"])) as fanout:
            point = await fanout.collect("q")
        assert (point.responses["general"].error or "").startswith(f"http_status: {status}")
        assert len(world.asked("/chat/completions")) == 1

    run(act)


def test_a_broken_connection_is_tried_again() -> None:
    """The connection breaks once, and the next attempt gives an answer."""

    async def act(world: Outside) -> None:
        replies = iter([Reply(raw=b""), chat("42")])
        world.model("general", lambda _: next(replies))
        async with Fanout(world.config(["general"])) as fanout:
            assert (await fanout.collect("q")).responses["general"].answer == "42"

    run(act)


def test_retry_after_is_kept_to() -> None:
    """The second attempt comes no earlier than asked for."""

    async def act(world: Outside) -> None:
        loop = asyncio.get_running_loop()
        times: list[float] = []

        def busy_then_fine(_: Any) -> Reply:
            times.append(loop.time())
            return chat("42") if len(times) > 1 else Reply(429, headers={"retry-after": "1"})

        world.model("general", busy_then_fine)
        async with Fanout(world.config(["general"])) as fanout:
            assert (await fanout.collect("q")).responses["general"].answer == "42"
        assert times[1] - times[0] >= 1.0

    run(act)


def test_a_wait_that_would_not_end_in_time_is_not_begun() -> None:
    """When Retry-After exceeds the time budget, the failure is recorded at once."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: Reply(503, headers={"retry-after": "3600"}))
        async with Fanout(world.config(["general"], point_timeout=600)) as fanout:
            point = await asyncio.wait_for(fanout.collect("q"), 60)
        assert (point.responses["general"].error or "").startswith("http_status: 503")

    run(act)


def test_retries_stay_within_their_budget() -> None:
    """A model that always fails is retried for at most a tenth of all calls, plus two."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: Reply(500))
        async with Fanout(world.config(["general"], max_in_flight=1_000)) as fanout:
            await asyncio.gather(*(fanout.collect(f"q{number}") for number in range(100)))
            retries = fanout.stats()["retries"]["general"]
        assert 2 <= retries <= 12
        assert len(world.requests) == 100 + retries

    run(act)


def test_a_model_named_scorer_does_not_use_up_the_scorers_retries() -> None:
    """The model has used up its two retries; then the scorer fails for the first time."""

    async def act(world: Outside) -> None:
        world.model("scorer", lambda _: Reply(503))
        scores = iter([as_json({"score": 0.5}), Reply(503), as_json({"score": 0.25})])
        world.scorer(lambda _: next(scores))
        async with Fanout(world.config(["scorer", "math"], retry_budget=0.01)) as fanout:
            await fanout.collect("first")
            assert fanout.stats()["retries"] == {"scorer": 2}
            point = await fanout.collect("second")
        assert point.scores["math"] == 0.25

    run(act)


@pytest.mark.parametrize("zone", [" GMT", " +0000", ""])
def test_a_date_to_wait_for_is_in_gmt_whatever_the_local_time_zone(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = datetime.now(UTC) + timedelta(hours=2)
    reply = HttpReply(503, {"retry-after": f"{then:%a, %d %b %Y %H:%M:%S}{zone}"}, b"")
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert 7_000 < retry_after(reply) <= 7_200
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text", ["soon", "-5", "1.5", "Wed, 40 Oct 2099 07:28:00 GMT", "Wed, 21 Oct 99999 07:28:00 GMT"]
)
def test_a_retry_after_that_is_neither_seconds_nor_a_date_is_passed_over(text: str) -> None:
    assert retry_after(HttpReply(503, {"retry-after": text}, b"")) == 0.0


@pytest.mark.parametrize(("retry", "bound"), [(0, 0.25), (1, 0.5), (3, 2.0), (5, 5.0), (100_000, 5.0)])
def test_waits_before_a_retry_are_spread_below_a_bound_that_doubles(retry: int, bound: float) -> None:
    """Callers that failed together do not come back together."""
    waits = [full_jitter(retry) for _ in range(1_000)]
    assert 0 <= min(waits) < bound / 2 < max(waits) <= bound
