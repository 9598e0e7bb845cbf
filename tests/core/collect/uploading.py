"""A collector that keeps the contract, and helpers which check that an uploader's counters add up."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from flywheel_core.collect import Uploader
from flywheel_core.records import DataPoint, Response
from tests.core.collect.outside import Outside, Reply, as_json


def point(number: int, answer: str = "a") -> DataPoint:
    return DataPoint(f"p{number}", "q", {"m": Response("m", answer, 1)}, {"m": 0.5}, 1_700_000_000)


class Collector:
    """A collector that keeps the contract: it takes every batch unless `verdict` returns another reply."""

    def __init__(self, world: Outside) -> None:
        self.stored: list[str] = []
        self.batches: list[int] = []
        self.verdict: Callable[[list[Any]], Reply | None] = lambda _: None
        world.collector(self._take)

    def _take(self, request: Any) -> Reply:
        points = request.json["data_points"]
        assert request.json["count"] == len(points)
        refused = self.verdict(points)
        if refused is not None:
            return refused
        self.batches.append(len(points))
        self.stored += [one["id"] for one in points]
        return success(len(points))


def success(count: int, rejected: list[dict[str, Any]] | None = None) -> Reply:
    return as_json({"status": "success", "count": count, "message": "ok", "rejected": rejected or []})


def run(act: Callable[[Outside, Collector], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Outside() as world:
            await act(world, Collector(world))

    asyncio.run(main())


def check(uploader: Uploader) -> dict[str, Any]:
    stats = uploader.stats()
    assert stats["offered"] == sum(
        stats[name] for name in ("acknowledged", "rejected", "spooled", "in_memory", "dropped")
    )
    return stats


async def offer(uploader: Uploader, numbers: range, answer: str = "a") -> None:
    for number in numbers:
        await uploader.offer(point(number, answer))
        check(uploader)


def ids(numbers: range) -> list[str]:
    return [f"p{number}" for number in numbers]
