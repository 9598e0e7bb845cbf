"""The gateway among failing services, and killed or stopped while it works."""

import asyncio
import json
import random
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from flywheel_core.config import Config
from flywheel_core.serve.lifecycle import Drain
from flywheel_gateway.service import LEAST_SECONDS, UPLOAD_SECONDS, Service
from tests.gateway.scripted import (
    DONE,
    STREAM_END,
    STREAM_HEAD,
    Arrived,
    Script,
    chunk,
    completion,
    event,
    reply,
)
from tests.gateway.world import Outside, RunningGateway, by_user, until

Start = Callable[..., RunningGateway]
QUESTIONS = 240


def answer_to(question: str) -> str:
    return f"the answer to {question}"


class Chaos:
    """Models that fail at random: 30 % 503, 20 % 429, 3 % hang, 5 % cut off, 5 % malformed; only `big` never fails.

    most_under_way: the most calls of collection that were answered at once.
    """

    def __init__(self) -> None:
        self._random = random.Random(11)
        self._lock = threading.Lock()
        self.under_way = 0
        self.most_under_way = 0

    def chat(self, asked: Arrived) -> Script:
        body = asked.json
        text = answer_to(body["messages"][-1]["content"])
        users = by_user(asked)
        with self._lock:
            draw = 1.0 if body["model"] == "big" else self._random.random()
            self.under_way += not users
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            yield from self._reply(draw, text, body.get("stream") is True)
        finally:
            with self._lock:
                self.under_way -= not users

    def _reply(self, draw: float, text: str, stream: bool) -> Script:
        whole = completion(text)
        if draw < 0.30:
            yield from reply(b'{"error": {"message": "chaos"}}', "503 Service Unavailable")
        elif draw < 0.50:
            yield from reply(b"{}", "429 Too Many Requests", "application/json", ("Retry-After", "0"))
        elif draw < 0.53:
            yield 3.0
            yield b""
        elif draw < 0.58:
            yield (
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n"
                + whole[:50]
            )
            yield b""
        elif draw < 0.63:
            yield from reply(whole[:-20])
        elif stream:
            yield STREAM_HEAD + chunk(event(text)) + chunk(event(None, "stop") + DONE) + STREAM_END
        else:
            yield from reply(whole)


def invariant(gateway: RunningGateway) -> tuple[float, float]:
    """Return both sides of: offered = acknowledged + rejected + spooled + in memory + dropped."""
    page = gateway.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if line.startswith("flywheel_upload_"))
    parts = ("acknowledged_total", "rejected_total", "spooled", "in_memory", "dropped_total")
    offered = float(values["flywheel_upload_offered_total"])
    return offered, sum(float(values[f"flywheel_upload_{part}"]) for part in parts)


def test_users_get_correct_answers_while_everything_fails(outside: Outside, start: Start) -> None:
    chaos = Chaos()
    outside.chat = chaos.chat
    config = outside.config(
        routing={"default_model": "math", "fallback_models": ["code", "big"]},
        data_collection__max_in_flight=8,
        data_collection__point_timeout=2.0,
        data_collection__retry_budget=0.1,
    )
    for name in ("math", "code"):
        config["models"][name]["timeout"] = 1.0
    gateway = start(config)
    refused_uploads = Counter[str]()
    collect = outside.server.script

    def sometimes_away(request: Arrived) -> Script:
        if request.path == "/collect" and refused_uploads["away"] < 3:
            refused_uploads["away"] += 1
            return reply(b'{"code": "queue_full"}', "503 Service Unavailable")
        return collect(request)

    outside.server.script = sometimes_away

    def ask(number: int) -> tuple[int, bool]:
        question = f"question {number}"
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": question}],
            "stream": number % 3 == 0,
        }
        answer = gateway.post("/v1/chat/completions", body)
        assert answer.status_code == 200, answer.text
        assert answer_to(question) in answer.text
        if number % 20 == 0:
            assert len(set(invariant(gateway))) == 1
        return answer.status_code, answer.headers["x-flywheel-model"] != "math"

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(QUESTIONS)))
    assert sum(replaced for _, replaced in answers) > QUESTIONS / 4
    until(lambda: gateway.metric("flywheel_gateway_collection_in_flight") == 0)
    points = gateway.metric("flywheel_gateway_collection_points_total")
    busy = gateway.metric('flywheel_gateway_collection_skipped_total{reason="busy"}')
    assert points + busy == QUESTIONS
    assert points > 0
    assert chaos.most_under_way <= 8 * 3
    calls = sum(
        gateway.metric(f'flywheel_gateway_collection_calls_total{{model="{name}"}}')
        for name in ("math", "code")
    )
    retries = sum(
        gateway.metric(f'flywheel_gateway_collection_retries_total{{model="{name}"}}')
        for name in ("math", "code")
    )
    assert retries <= 0.1 * calls + 20  # a budget allows a few retries before any call has earned them
    until(lambda: len(outside.points) == points)
    offered, accounted = invariant(gateway)
    assert offered == accounted == points
    for point in outside.points:
        served = point["responses"][point["served_model"]]
        assert served["answer"] == answer_to(point["question"])


def test_spooled_points_survive_sigkill_of_the_gateway(outside: Outside, start: Start) -> None:
    """After the restart, every spooled data point arrives exactly once."""
    collecting = threading.Event()
    script = outside.server.script

    def away(request: Arrived) -> Script:
        if request.path == "/collect" and not collecting.is_set():
            return reply(b'{"code": "queue_full"}', "503 Service Unavailable")
        return script(request)

    outside.server.script = away
    gateway = start(outside.config())
    ids = [gateway.chat(f"question {number}").headers["x-flywheel-decision"] for number in range(60)]
    until(lambda: gateway.metric("flywheel_upload_spooled") == 60)
    gateway.kill()
    assert not outside.points
    collecting.set()
    gateway.start()
    until(lambda: len(outside.points) >= 60)
    until(lambda: gateway.metric("flywheel_upload_spooled") == 0)
    assert Counter(point["id"] for point in outside.points) == Counter(ids)
    assert len(set(invariant(gateway))) == 1


def test_shutdown_finishes_requests_and_keeps_points_not_yet_uploaded(outside: Outside, start: Start) -> None:
    """SIGTERM arrives while an answer is being streamed and the collector refuses uploads."""
    outside.server.script = lambda request: (
        reply(b"{}", "503 Service Unavailable") if request.path == "/collect" else outside._answer(request)
    )
    go_on = threading.Event()
    first = outside.chat

    def slow(asked: Arrived) -> Script:
        yield STREAM_HEAD + chunk(event("first"))
        assert go_on.wait(20)
        yield chunk(event("last") + DONE) + STREAM_END

    outside.chat = lambda asked: slow(asked) if asked.json.get("stream") else first(asked)
    gateway = start(outside.config())
    gateway.chat("kept on disk")
    body = {"messages": [{"role": "user", "content": "1 + 1?"}], "stream": True}
    with httpx.stream("POST", f"{gateway.address}/v1/chat/completions", json=body, timeout=30) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == event("first")
        gateway.process.terminate()
        until(lambda: "draining" in gateway.log())
        go_on.set()
        assert b"".join(pieces) == event("last") + DONE
    assert gateway.wait() == 0
    outside.server.script = outside._answer
    gateway.start()
    until(lambda: len(outside.points) == 2)
    assert {point["question"] for point in outside.points} == {"kept on disk", "1 + 1?"}
    assert json.loads(gateway.log().splitlines()[0])["event"]


def test_clients_collection_and_uploads_share_one_deadline_at_shutdown(
    outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stuck clients, then models that do not answer, then a collector that does not: their times must not add up."""
    settings = outside.config(gateway__drain_timeout=60, storage__data_dir=str(tmp_path))
    given: dict[str, float] = {}

    def noting(part: str, close: Callable[[float], Awaitable[None]]) -> Callable[[float], Awaitable[None]]:
        async def noted(deadline: float) -> None:
            given[part] = deadline
            await close(deadline)

        return noted

    async def end(drain: Drain) -> None:
        service = Service(lambda: Config.model_validate(settings))
        service.drain = drain
        collection, uploads = service.gateway.collection, service._uploads
        monkeypatch.setattr(collection, "close", noting("collection", collection.close))
        monkeypatch.setattr(uploads, "close", noting("uploads", uploads.close))
        async with service.running():
            drain.left()  # what the server does when it is told to end

    asyncio.run(end(Drain(0.0)))
    assert given == {"collection": LEAST_SECONDS, "uploads": LEAST_SECONDS}
    asyncio.run(end(Drain(60.0)))
    assert LEAST_SECONDS < given["collection"] <= 60
    assert given["uploads"] == UPLOAD_SECONDS


def test_the_time_to_end_starts_once_and_leaves_at_least_what_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("flywheel_core.serve.lifecycle.time.monotonic", lambda: now)
    drain = Drain(8.0)
    now = 200.0
    assert drain.left() == 8.0
    now = 205.0
    assert drain.left() == 3.0
    now = 300.0
    assert (drain.left(), drain.left(0.5)) == (0.0, 0.5)
