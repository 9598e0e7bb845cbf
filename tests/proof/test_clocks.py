"""Storage: clocks and several writers."""

import asyncio
import itertools
import json
import random
import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flywheel_core.lake.layout import Layout, day_of
from flywheel_core.lake.tables import read_table
from tests.collector.test_faults import MIDNIGHT, Site
from tests.gateway.world import NotStartedError, Outside, RunningGateway, until
from tests.proof.conftest import Proof
from tests.proof.dataset_ids import dataset_of
from tests.proof.victims import Sender, Victim, point

DAY_SECONDS = 86_400.0
EVENT_TIMES = (0, 1, int(MIDNIGHT) - 1, int(MIDNIGHT), int(MIDNIGHT) + 365 * 86_400)
"""Unix seconds of events in 1970, around midnight, and a year later."""


@pytest.mark.proof(
    "a wrong clock loses and doubles nothing",
    "a collector's clock a day ahead, a day behind and jumping between them under load; events of 1970 and of next year; "
    "senders that repeat themselves on another day",
)
def test_a_clock_that_jumps(tmp_path: Path, proof: Proof) -> None:
    choose = random.Random(0)
    batches = proof.size(200, 2_000)
    numbers = itertools.count()
    sent: set[str] = set()
    jumps = 0

    async def send(site: Site, again: list[list[dict[str, Any]]]) -> None:
        for _ in range(batches // 4):
            if again and choose.random() < 0.2:
                batch = choose.choice(again)
            else:
                times = choose.choices(EVENT_TIMES, k=choose.randint(1, 8))
                batch = [point(f"p-{next(numbers)}", timestamp=at) for at in times]
                again.append(batch)
            answer = await site.collect(*batch)
            assert answer.json()["count"] == len(batch)
            sent.update(one["id"] for one in batch)

    def turn(site: Site) -> None:
        nonlocal jumps
        days = choose.choice([-1, 0, 0, 1])
        site.now = MIDNIGHT + choose.choice([-1.0, 1.0, 40_000.0]) + days * DAY_SECONDS
        jumps += 1

    async def jump(site: Site) -> None:
        while True:
            turn(site)
            await asyncio.sleep(choose.uniform(0, 0.005))

    async def main() -> None:
        async with Site(tmp_path) as site:
            jumping = asyncio.create_task(jump(site))
            await asyncio.gather(*(send(site, []) for _ in range(4)))
            jumping.cancel()

    asyncio.run(main())
    layout = Layout(tmp_path)
    found = dataset_of(layout)
    first = day_of(MIDNIGHT) - timedelta(days=2)
    days = set(layout.raw_days())
    assert days <= {first + timedelta(days=number) for number in range(4)}
    assert len(days) > 1  # which of the days get a batch is left to chance
    assert found.ids.keys() == sent
    assert not found.twice
    assert found.rejected == 0
    assert set(read_table(layout, "responses")["timestamp"].to_list()) == set(EVENT_TIMES)
    proof.note(
        jumps_of_the_clock=jumps, data_points=len(sent), days=len(found.days), lost=0, twice_in_the_dataset=0
    )


@pytest.fixture
def collectors(tmp_path: Path) -> Iterator[list[str]]:
    """Run two collectors on `tmp_path`/data at once, and give their addresses."""
    command = ["-m", "collector_api", "--port", "0", "--data-dir", str(tmp_path / "data")]
    victims = [Victim([*command, *more], tmp_path / "log") for more in ([], ["--writer", "east"])]
    yield [json.loads(victim.first)["address"] for victim in victims]
    assert [victim.stop() for victim in victims] == [0, 0]


@pytest.fixture
def senders(collectors: list[str]) -> Iterator[list[Sender]]:
    """A sender for each collector, both with the same data points, as a load balancer's retries would bring them."""
    made = [Sender("same", int(address.rpartition(":")[2])) for address in collectors]
    yield made
    for sender in made:
        sender.end()


@pytest.fixture
def outside() -> Iterator[Outside]:
    """The models and the scorer."""
    made = Outside()
    yield made
    made.server.close()


def has_uploaded(gateway: RunningGateway, points: int) -> bool:
    return gateway.metric("flywheel_upload_acknowledged_total") == points


@pytest.mark.proof(
    "two collectors and two gateways at once: everything is there once",
    "gateways that collect, and senders that give the same points to both collectors, on one data folder",
)
def test_two_collectors_and_two_gateways(
    tmp_path: Path, collectors: list[str], senders: list[Sender], outside: Outside, proof: Proof
) -> None:
    questions = proof.size(25, 300)
    gateways = []
    for number, address in enumerate(collectors):
        folder = tmp_path / f"gateway-{number}"
        folder.mkdir()
        settings = outside.config(data_collection__storage_endpoint=f"{address}/collect")
        gateways.append(RunningGateway(folder, settings))
        with pytest.raises(NotStartedError, match="another running process"):
            RunningGateway(folder, settings)
    asked: set[str] = set()

    def ask(gateway: RunningGateway, name: str) -> None:
        for number in range(questions):
            asked.add(gateway.chat(f"question {number} of {name}?").headers["x-flywheel-decision"])

    asking = [
        threading.Thread(target=ask, args=(gateway, f"gateway {number}"))
        for number, gateway in enumerate(gateways)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    for gateway in gateways:
        until(partial(has_uploaded, gateway, questions))
        gateway.close()
    for sender in senders:
        sender.end()
    sent = {name for sender in senders for name in sender.acknowledged}
    found = dataset_of(Layout(tmp_path / "data"))
    assert len(asked) == 2 * questions
    assert found.ids.keys() == asked | sent
    assert not found.twice
    stored_twice = sum(day.duplicates for day in found.days)
    assert stored_twice
    assert {name for day in found.days for name in day.files if ".east." in name}
    proof.note(
        from_gateways=len(asked),
        from_senders=len(sent),
        stored_twice=stored_twice,
        lost=0,
        twice_in_the_dataset=0,
    )
