"""What bounds the fan-out: calls in flight, time, and closing it."""

import asyncio
from typing import Any

import pytest

from flywheel_core.collect import Fanout, Plan
from flywheel_core.collect.scoring import SCORE_REASONS, code_of
from flywheel_core.errors import SkippedError
from tests.core.collect.asking import run
from tests.core.collect.outside import Outside, Reply, chat, until


def test_beyond_the_bounds_points_are_skipped_and_nobody_waits() -> None:
    """max_in_flight holds for all points, max_concurrency for each model; ended calls free their places."""

    async def act(world: Outside) -> None:
        release = asyncio.Event()

        async def held(_: Any) -> Reply:
            await release.wait()
            return chat("42")

        world.model("general", held)
        async with Fanout(world.config(max_in_flight=2, model={"max_concurrency": 2})) as fanout:
            first = asyncio.create_task(fanout.collect("q1"))
            second = asyncio.create_task(fanout.collect("q2", plan=Plan(("general",))))
            await until(lambda: world.under_way["/general/v1/chat/completions"] == 2)
            with pytest.raises(SkippedError) as caught:
                await fanout.collect("q3")
            assert caught.value.code == "busy"
            release.set()
            await asyncio.gather(first, second)
            release.clear()
            other = asyncio.create_task(fanout.collect("q4", plan=Plan(("general",))))
            await until(lambda: world.under_way["/general/v1/chat/completions"] == 1)
            fanout.use(world.config(max_in_flight=9, model={"max_concurrency": 1}))
            with pytest.raises(SkippedError) as caught:
                await fanout.collect("q5")
            assert caught.value.code == "model_busy"
            await fanout.collect("q6", plan=Plan(("math", "code")))
            release.set()
            await other
            stats = fanout.stats()
        assert stats["skipped"] == {"busy": 1, "model_busy": 1}
        assert (stats["in_flight"], stats["calls_under_way"], stats["points"]) == (0, {}, 4)
        assert world.most["/general/v1/chat/completions"] == 2

    run(act)


@pytest.mark.parametrize("at_once", [False, True])
def test_cancelling_leaves_nothing_running(at_once: bool) -> None:
    """Every call in flight ends on the wire and every place is freed, whenever the caller goes."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: Reply(hang=True))
        world.model("math", lambda _: Reply(503, headers={"retry-after": "300"}))
        world.scorer(lambda _: Reply(hang=True))
        async with Fanout(world.config(point_timeout=600, model={"timeout": 600})) as fanout:
            task = asyncio.create_task(fanout.collect("q"))
            if at_once:
                await asyncio.sleep(0)
            else:
                await until(lambda: world.under_way["/v1/evaluate"] and len(world.requests) == 4)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            stats = fanout.stats()
            assert (stats["in_flight"], stats["calls_under_way"], stats["cancelled"]) == (0, {}, 1)
            await until(lambda: not any(world.under_way.values()))
            here = asyncio.current_task()
            await until(lambda: asyncio.all_tasks() - world.open == {here})
        await until(lambda: not world.open)

    run(act)


def test_the_time_budget_bounds_a_data_point() -> None:
    """When models and the scorer hang, the point comes after point_timeout and says why parts are missing."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: Reply(hang=True))
        world.scorer(lambda _: Reply(hang=True))
        async with Fanout(world.config(point_timeout=0.5, training={"evaluate_timeout": 60_000})) as fanout:
            point = await asyncio.wait_for(fanout.collect("q"), 60)
        assert code_of(point.responses["general"].error) == "timeout"
        assert point.responses["math"].answer == "an answer to q"
        assert point.score_reasons == {"general": "no_answer", "math": "timeout", "code": "timeout"}
        assert set(point.score_reasons.values()) <= set(SCORE_REASONS)

    run(act)


def test_after_close_nothing_is_taken() -> None:
    """Closing twice is fine too."""

    async def act(world: Outside) -> None:
        fanout = Fanout(world.config())
        await fanout.collect("q")
        await fanout.close()
        await fanout.close()
        with pytest.raises(SkippedError) as caught:
            await fanout.collect("q")
        assert caught.value.code == "closed"

    run(act)
