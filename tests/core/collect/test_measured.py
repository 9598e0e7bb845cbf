"""What a data point and the counters say of each call: how long it took, what it cost, when its place is free."""

import asyncio
from typing import Any

import pytest

from flywheel_core.collect import Fanout, Plan
from tests.core.collect.asking import run
from tests.core.collect.outside import Outside, Reply, as_json, chat, until


def test_latency_is_that_of_the_model_without_the_scorers() -> None:
    async def act(world: Outside) -> None:
        answer = chat("42")
        answer.delay = 0.3
        world.model("general", lambda _: answer)
        world.scorer(lambda _: as_json({"score": 0.5}, delay=0.3))
        async with Fanout(world.config(["general"])) as fanout:
            began = asyncio.get_running_loop().time()
            point = await fanout.collect("q")
            elapsed = asyncio.get_running_loop().time() - began
        latency = point.responses["general"].latency_ms
        assert latency is not None
        assert 290 <= latency <= 1000 * (elapsed - 0.29)

    run(act)


def test_questions_and_answers_are_paid_for_at_their_own_prices() -> None:
    async def act(world: Outside) -> None:
        prices = {"input_price": 3.0, "output_price": 0.5}
        async with Fanout(world.config(["general"], model=prices)) as fanout:
            point = await fanout.collect("q")
        assert point.responses["general"].cost == pytest.approx((10 * 3.0 + 20 * 0.5) / 1e6)

    run(act)


def test_a_refused_call_is_not_counted_as_one_of_unknown_cost() -> None:
    async def act(world: Outside) -> None:
        world.model("general", lambda _: Reply(400))
        async with Fanout(world.config(["general"])) as fanout:
            point = await fanout.collect("q")
            assert fanout.stats()["unpriced"] == 0
        assert point.responses["general"].cost is None

    run(act)


def test_a_models_place_is_free_while_its_answer_is_scored() -> None:
    async def act(world: Outside) -> None:
        release = asyncio.Event()

        async def held(_: Any) -> Reply:
            await release.wait()
            return as_json({"score": 0.5})

        world.scorer(held)
        async with Fanout(world.config(["general"], model={"max_concurrency": 1})) as fanout:
            plan = Plan(("general",))
            points = [asyncio.create_task(fanout.collect("q1", plan=plan))]
            await until(lambda: world.under_way["/v1/evaluate"] == 1)
            points.append(asyncio.create_task(fanout.collect("q2", plan=plan)))
            await until(lambda: world.under_way["/v1/evaluate"] == 2)
            release.set()
            assert len(await asyncio.gather(*points)) == 2

    run(act)
