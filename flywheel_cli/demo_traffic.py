"""The demo's clients: one uploads recorded data points, the other asks questions through the gateway.

They ignore proxies that the environment names, as those cannot reach this machine's loopback.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from flywheel_core.collect.sampling import MARK_HEADER
from flywheel_core.errors import FlywheelError, UpstreamError
from flywheel_core.lake.layout import Layout

BATCH_POINTS = 10
ASKED_AT_ONCE = 16
POLL_SECONDS = 0.2
STORED_SECONDS = 60.0

Tell = Callable[[int, int], None]
"""Called with how many are done, and of how many."""


@dataclass(frozen=True)
class Reply:
    """How one question went through the gateway. seconds: measured by the client; reason: why this model."""

    question: str
    model: str
    reason: str
    seconds: float


def upload(endpoint: str, file: Path, tell: Tell) -> int:
    """Send a JSONL file's data points to a collector in batches; return how many it stored.

    Raises UpstreamError when the collector does not answer 200.
    """
    lines = file.read_bytes().split(b"\n")
    points = [json.loads(line) for line in lines if line]
    accepted = 0
    with httpx.Client(timeout=30.0, trust_env=False) as client:
        for start in range(0, len(points), BATCH_POINTS):
            batch = points[start : start + BATCH_POINTS]
            body = {"data_points": batch, "count": len(batch), "timestamp": int(time.time())}
            answer = client.post(endpoint, json=body)
            if answer.status_code != httpx.codes.OK:
                raise UpstreamError(
                    f"the collector at {endpoint} answered {answer.status_code}: {answer.text[:200]}"
                )
            accepted += answer.json()["count"]
            tell(accepted, len(points))
    return accepted


def questions(simulation: str, which: str, offset: int, limit: int) -> list[str]:
    """Fetch questions of the simulation's training or validation set."""
    answer = httpx.get(
        f"{simulation}/questions",
        params={"set": which, "offset": offset, "limit": limit},
        timeout=30.0,
        trust_env=False,
    )
    answer.raise_for_status()
    return [entry["question"] for entry in answer.json()["questions"]]


async def ask_all(gateway: str, asked: Sequence[str], tell: Tell, *, collect: bool = True) -> list[Reply]:
    """Ask every question through the gateway without naming a model.

    collect: whether the questions may become data points. Raises UpstreamError for any status but 200.
    """
    headers = {} if collect else {MARK_HEADER: "demo"}
    turns = asyncio.Semaphore(ASKED_AT_ONCE)
    done = itertools.count(1)

    async def ask(client: httpx.AsyncClient, question: str) -> Reply:
        async with turns:
            started = time.monotonic()
            answer = await client.post(
                f"{gateway}/v1/chat/completions", json={"messages": [{"role": "user", "content": question}]}
            )
            seconds = time.monotonic() - started
        if answer.status_code != httpx.codes.OK:
            raise UpstreamError(f"the gateway answered {answer.status_code}: {answer.text[:200]}")
        tell(next(done), len(asked))
        told = answer.headers
        return Reply(question, told["x-flywheel-model"], told["x-flywheel-reason"], seconds)

    async with httpx.AsyncClient(timeout=60.0, headers=headers, trust_env=False) as client:
        return list(await asyncio.gather(*(ask(client, question) for question in asked)))


def stored_today(layout: Layout) -> int:
    """Count the data points in today's raw files, without the empty lines that pad an open file."""
    today = datetime.now(UTC).date()
    return sum(1 for path in layout.raw_files(today) for line in path.read_bytes().split(b"\n") if line)


def wait_until_stored(layout: Layout, count: int, tell: Tell) -> None:
    """Wait until today's raw files hold `count` data points. Raises FlywheelError after `STORED_SECONDS`."""
    deadline = time.monotonic() + STORED_SECONDS
    while (stored := stored_today(layout)) < count:
        if time.monotonic() > deadline:
            raise FlywheelError(
                f"after {STORED_SECONDS:.0f} s only {stored} of {count} data points are stored",
                hint="look at the gateway's and the collector's log",
                code="upload_incomplete",
            )
        tell(stored, count)
        time.sleep(POLL_SECONDS)
    tell(count, count)
