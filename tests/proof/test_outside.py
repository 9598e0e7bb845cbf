"""Collection: a collector that fails.

An uploader, a real collector, and between them a proxy that answers 5xx or 429, or drops the answer after the collector
has stored the batch.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flywheel_core.collect import Uploader, courier
from flywheel_core.lake.layout import Layout
from flywheel_core.records import DataPoint, Response
from tests.core.collect.outside import Outside, Reply, Request, until
from tests.proof.conftest import Proof
from tests.proof.dataset_ids import dataset_of
from tests.proof.victims import Victim

PARTS = ("acknowledged", "rejected", "spooled", "in_memory", "dropped")


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[str]:
    """Run a collector process on `tmp_path`/data, and give the address of its /collect."""
    command = ["-m", "collector_api", "--port", "0", "--data-dir", str(tmp_path / "data")]
    victim = Victim(command, tmp_path / "log")
    yield json.loads(victim.first)["address"] + "/collect"
    assert victim.stop() == 0


class Proxy:
    """Passes batches on to the collector, or fails them at random until `calm` is set. outcomes: how often each came."""

    def __init__(self, collector: str, onward: httpx.AsyncClient) -> None:
        self._collector = collector
        self._onward = onward
        self._dice = random.Random(0)
        self.outcomes: Counter[str] = Counter()
        self.calm = False

    async def __call__(self, request: Request) -> Reply:
        drawn = 1.0 if self.calm else self._dice.random()
        if drawn < 0.3:
            return self._noted("answered_5xx", Reply(self._dice.choice([500, 502, 503, 504])))
        if drawn < 0.5:
            return self._noted("answered_429", Reply(429, headers={"retry-after": "0"}))
        headers = {"content-type": "application/json"}
        answer = await self._onward.post(self._collector, content=request.body, headers=headers)
        if drawn < 0.65:
            return self._noted("dropped_after_commit", Reply(raw=b""))
        if drawn < 0.7:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
            return self._noted("cut_after_commit", Reply(raw=head + answer.content[:30]))
        return self._noted("passed_on", Reply(answer.status_code, answer.content))

    def _noted(self, outcome: str, reply: Reply) -> Reply:
        self.outcomes[outcome] += 1
        return reply


async def offer(uploader: Uploader, seconds: float, pause: float) -> set[str]:
    """Offer data points for `seconds`, with `pause` seconds after each, and return their ids."""
    loop = asyncio.get_running_loop()
    names: set[str] = set()
    ends = loop.time() + seconds
    while loop.time() < ends:
        name = f"p-{len(names)}"
        responses = {model: Response(model, f"answer of {model}") for model in ("big", "coder")}
        point = DataPoint(name, f"question {name}", responses, {"big": 0.9, "coder": 0.25}, 1_767_225_600)
        await uploader.offer(point)
        names.add(name)
        await asyncio.sleep(pause)
    return names


async def look(uploader: Uploader, looks: Counter[str]) -> None:
    """Check the uploader's invariant every 2 ms until cancelled, counting the checks in `looks`."""
    while True:
        stats = uploader.stats()
        assert stats["offered"] == sum(stats[name] for name in PARTS), stats
        looks["looks"] += 1
        looks["most_spooled"] = max(looks["most_spooled"], stats["spooled"])
        await asyncio.sleep(0.002)


@pytest.mark.proof(
    "offered = acknowledged + rejected + spooled + in memory + dropped, at every moment; nothing lost, nothing twice",
    "30 % of answers 5xx, 20 % 429, 20 % dropped or cut after the collector had stored the batch; then calm",
)
def test_a_collector_that_fails(
    tmp_path: Path, collector: str, proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = proof.size(4.0, 600.0)
    if not proof.full:
        monkeypatch.setattr(courier, "FIRST_DELAY", 0.01)
        monkeypatch.setattr(courier, "LONGEST_DELAY", 0.1)
    looks: Counter[str] = Counter()

    async def main() -> tuple[Proxy, set[str], Uploader]:
        async with Outside() as world, httpx.AsyncClient(timeout=30) as onward:
            proxy = Proxy(collector, onward)

            async def answer(request: Request) -> Reply:
                world.requests.clear()  # kept requests would fill up the memory
                return await proxy(request)

            world.collector(answer)
            config = world.config(training={"batch_size": 5, "flush_interval": 0.05})
            uploader = Uploader(config, tmp_path / "spool")
            await uploader.start()
            looking = asyncio.create_task(look(uploader, looks))
            names = await offer(uploader, seconds, proof.size(0.002, 0.04))
            proxy.calm = True
            await until(lambda: not uploader.spooled and not uploader.in_memory, 120)
            await uploader.close()
            assert not looking.done(), looking.exception()
            looking.cancel()
            return proxy, names, uploader

    proxy, names, uploader = asyncio.run(main())
    found = dataset_of(Layout(tmp_path / "data"))
    assert len(proxy.outcomes) == 5
    assert (uploader.acknowledged, uploader.rejected, uploader.dropped) == (len(names), 0, 0)
    assert found.ids.keys() == names
    assert not found.twice
    sent_twice = sum(day.duplicates for day in found.days)
    assert sent_twice
    proof.note(
        seconds=int(seconds),
        offered=len(names),
        acknowledged=uploader.acknowledged,
        **proxy.outcomes,
        **looks,
        stored_twice=sent_twice,
        lost=0,
        twice_in_the_dataset=0,
    )
