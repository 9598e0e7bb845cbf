"""The cache of decisions: bounded in number and time, and one computation for all who wait for it."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from flywheel_core.errors import RouterError
from flywheel_gateway.cache import DecisionCache

T = TypeVar("T")


def run(work: Callable[[], Awaitable[T]]) -> T:
    async def go() -> T:
        return await work()

    return asyncio.run(go())


async def made(value: int) -> int:
    await asyncio.sleep(0)
    return value


def test_the_cache_is_bounded_and_drops_the_least_recently_used_entry() -> None:
    cache = DecisionCache[int](2, ttl=60)

    async def fill() -> list[bool]:
        await cache.get(b"1", lambda: made(1))
        await cache.get(b"2", lambda: made(2))
        await cache.get(b"1", lambda: made(1))
        await cache.get(b"3", lambda: made(3))
        return [(await cache.get(key, lambda: made(0)))[1] for key in (b"1", b"3", b"2")]

    assert run(fill) == [True, True, False]
    assert len(cache) == 2


def test_a_cached_decision_expires_after_its_ttl() -> None:
    clock = [0.0]
    cache = DecisionCache[int](10, ttl=5, clock=lambda: clock[0])

    async def over_time() -> list[bool]:
        found = []
        for clock[0] in (0.0, 4.9, 5.1):
            found.append((await cache.get(b"key", lambda: made(1)))[1])
        return found

    assert run(over_time) == [False, True, False]


def test_a_caller_that_is_cancelled_does_not_disturb_the_others() -> None:
    cache = DecisionCache[int](10, ttl=5)
    release = asyncio.Event()

    async def slow() -> int:
        await release.wait()
        return 7

    async def leave() -> tuple[int, bool]:
        first = asyncio.create_task(cache.get(b"key", slow))
        second = asyncio.create_task(cache.get(b"key", slow))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await second

    assert run(leave) == (7, True)


def test_a_failure_reaches_every_caller_and_is_not_cached() -> None:
    cache = DecisionCache[int](10, ttl=5)

    async def fail() -> int:
        await asyncio.sleep(0)
        raise RouterError("no")

    async def twice() -> int:
        results = await asyncio.gather(
            cache.get(b"key", fail), cache.get(b"key", fail), return_exceptions=True
        )
        assert [type(result) for result in results] == [RouterError, RouterError]
        return (await cache.get(b"key", lambda: made(2)))[0]

    assert run(twice) == 2


def test_a_failure_that_nobody_waits_for_any_more_is_no_error_of_the_event_loop() -> None:
    cache = DecisionCache[int](10, ttl=5)
    told: list[object] = []

    async def leave_before_it_fails() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        release = asyncio.Event()

        async def fail() -> int:
            await release.wait()
            raise RouterError("no")

        caller = asyncio.create_task(cache.get(b"key", fail))
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        release.set()
        await asyncio.sleep(0.01)
        gc.collect()

    asyncio.run(leave_before_it_fails())
    assert told == []
