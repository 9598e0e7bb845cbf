"""Metrics whose counts are kept outside the metrics: they show what happened."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from flywheel_core.collect.answer import Answer
from flywheel_core.collect.point import Served
from flywheel_core.config import Config
from flywheel_gateway.collection import Sender
from flywheel_gateway.service import Service
from tests.gateway.scripted import DONE, STREAM_HEAD, chunk, completion, event, reply
from tests.gateway.test_router_in_service import promote, quiet, registry_of, serving
from tests.gateway.world import Outside, RunningGateway, by_user, until

Start = Callable[..., RunningGateway]


def test_decisions_on_record_and_those_that_found_no_room_are_counted(outside: Outside, start: Start) -> None:
    gateway = start(outside.config(gateway__decision_log_bytes=1_000, data_collection__enabled=False))
    for number in range(6):
        gateway.chat(f"question {number}")
    written, dropped = (f"flywheel_gateway_decision_log_{name}_total" for name in ("written", "dropped"))
    until(lambda: gateway.metric(written) + gateway.metric(dropped) == 6)
    assert 0 < gateway.metric(written) == len(gateway.decisions()) < 6


def test_cached_decisions_are_counted(outside: Outside, start: Start) -> None:
    gateway = start(quiet(outside))
    promote(registry_of(gateway), "to-math")
    until(lambda: serving(gateway) == "to-math")
    for question in ("one", "two", "one"):
        gateway.chat(question)
    assert gateway.metric("flywheel_gateway_decision_cache_entries") == 2


def test_uploads_and_what_waits_on_disk_are_counted(outside: Outside, start: Start) -> None:
    gateway = start(outside.config(data_collection__storage_endpoint="http://127.0.0.1:1/collect"))
    gateway.chat()
    until(lambda: gateway.metric("flywheel_upload_spooled") == 1)
    assert gateway.metric("flywheel_upload_uploads_total") >= 1
    files = [path for path in (gateway.data / "spool").rglob("*") if path.is_file()]
    assert 0 < gateway.metric("flywheel_upload_spool_bytes") <= sum(path.stat().st_size for path in files)


@pytest.mark.parametrize("ending", [[event(None, "stop"), DONE], [DONE], [event(None, "stop")]])
def test_a_client_that_leaves_once_its_streamed_answer_is_whole_counts_as_answered(
    outside: Outside, start: Start, ending: list[bytes]
) -> None:
    """Loops over a stream often end at the finish reason; the official client leaves at `[DONE]`."""
    sent = [STREAM_HEAD, *map(chunk, (event("two"), *ending))]
    outside.chat = lambda asked: [*sent, 30.0] if by_user(asked) else reply(completion("two"))
    gateway = start(outside.config())
    body = {"messages": [{"role": "user", "content": "1 + 1?"}], "stream": True}
    with httpx.stream("POST", f"{gateway.address}/v1/chat/completions", json=body, timeout=20) as answer:
        last = ending[-1].decode().strip()
        next(line for line in answer.iter_lines() if line == last)
    assert outside.server.left.wait(20)
    assert until(lambda: outside.points)[0]["responses"]["big"]["error"] is None
    requests, skipped = "flywheel_gateway_requests_total", "flywheel_gateway_collection_skipped_total"
    until(lambda: gateway.metric(f'{requests}{{code="ok"}}') == 1)
    assert gateway.metric(f'{requests}{{code="client_gone"}}') == 0
    assert gateway.metric(f'{skipped}{{reason="client_left"}}') == 0


def test_requests_answered_in_the_same_instant_are_told_whether_they_are_collected(
    tmp_path: Path, outside: Outside
) -> None:
    """None of them is being collected yet when the next one is looked at."""
    settings = outside.config(storage__data_dir=str(tmp_path), models__math__max_concurrency=2)

    async def observe() -> tuple[list[str | None], dict[str, Any]]:
        service = Service(lambda: Config.model_validate(settings))
        gateway, body = service.gateway, {"messages": [{"role": "user", "content": "1 + 1?"}]}
        async with service.running():
            told = [
                gateway.observe(body, Served("big", Answer("two")), Sender([], None), None)[1]
                for _ in range(4)
            ]
            while len(outside.points) < 2:  # noqa: ASYNC110 - no event tells that they have arrived
                await asyncio.sleep(0.01)
            told.append(gateway.observe(body, Served("big", Answer("two")), Sender([], None), None)[1])
        return told, gateway.collection.stats()

    told, stats = asyncio.run(asyncio.wait_for(observe(), 30))
    assert told == [None, None, "model_busy", "model_busy", None]
    assert stats["skipped"] == {"model_busy": 2}
