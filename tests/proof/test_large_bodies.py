"""Servers: the largest bodies

A body within the bounds may not take a multiple of its size in memory, and none of that memory stays in use.
"""

import gzip
import time
from collections.abc import Callable

import httpx
import pytest

from flywheel_core.config import Collector, Gateway
from flywheel_core.wire import MAX_POINT_BYTES
from tests.collector.conftest import Start as StartCollector
from tests.gateway.world import Outside, RunningGateway
from tests.proof.conftest import Proof
from tests.proof.measure import MIB, MOST_GROWTH, memory_of
from tests.proof.test_malformed import CHAT, GOOD

MOST_KEPT = MOST_GROWTH / 4


UNPACKED = {"collector": Collector().max_unpacked_bytes, "gateway": Gateway().max_unpacked_bytes}


def filled(head: bytes, tail: bytes, size: int, filler: bytes = b"x") -> bytes:
    """Return `head`, as much of `filler` as fits, and `tail`: `size` bytes or a little less."""
    return head + filler * ((size - len(head) - len(tail)) // len(filler)) + tail


def large_points(size: int, filler: bytes, last: bytes) -> bytes:
    """Return a batch of at most `size` bytes: data points of nearly the largest size, and `last` at the end."""
    head = b'{"id": "p-1", "question": "q", "timestamp": 1, "scores": {}, "responses": {"m": {"model": "m", "answer": "'
    one = filled(head, EMOJI + b'"}}}', MAX_POINT_BYTES - 1_024, filler)
    count = (size - len(last) - 100) // len(one)
    return b'{"data_points": [' + b",".join([one] * count + [last]) + b"]}"


EMOJI = "\U0001f600".encode()
"""A single one makes Python use four bytes for every character of a text."""


def largest_bodies(size: int) -> dict[str, bytes]:
    """Return batches of at most `size` bytes that would be several times as large if decoded or escaped as a whole."""
    head, tail = b'{"data_points": [{"question": "', b'", "responses": {}}]}'
    strange = filled(
        b'{"question": "q", "responses": {}, "scores": {}, "new": "', EMOJI + b'"}', MAX_POINT_BYTES
    )
    lists = b'{"id": "p-1", "question": "q", "timestamp": 1, "scores": {}, "responses": {}, "messages": ['
    models = b",".join(b'"%x":{}' % number for number in range(200_000))
    return {
        "one text": filled(b'"', b'"', size),
        "one question": filled(head, tail, size),
        "one question with an emoji": filled(head, EMOJI + tail, size),
        "one question that is no UTF-8": filled(head, tail, size, b"\xff"),
        "one question of control characters": filled(head, tail, size, b"\x01"),
        "large points": large_points(size, b"x", b'{"question": "q", "responses": {}}'),
        "large points, the last of them bad": large_points(size, b"x", b"5"),
        "large points that are no UTF-8": large_points(size, b"\xff", b"5"),
        "a large field that nobody knows": large_points(size, b"x", strange),
        "a point of lists": filled(b'{"data_points": [' + lists, b"[]]}]}", MAX_POINT_BYTES, b"[],"),
        "a point of models": b'{"data_points": [{"question": "q", "responses": {%b}}]}' % models,
        "a large point with NaN": large_points(size, b"x", strange.replace(b'{}, "new', b'{"m": NaN}, "new')),
    }


def largest_questions(size: int) -> dict[str, bytes]:
    """Return the same for the gateway's paths that take a chat body."""
    return {
        "one question": filled(b'{"messages": [{"role": "user", "content": "', b'"}]}', size),
        "one with an emoji": filled(b'{"messages": [{"role": "user", "content": "', EMOJI + b'"}]}', size),
        "a field that nobody knows": filled(
            b'{"messages": [{"role": "user", "content": "q"}], "new": "', EMOJI + b'"}', size
        ),
    }


@pytest.mark.proof(
    "No body within the bounds takes more than 64 MiB, and none of it stays",
    "the largest bodies, packed: one text, texts with an emoji or without UTF-8, points of 3 MiB, of lists alone or of 200,000 models; in fresh processes",
)
@pytest.mark.parametrize("server", ["collector", "gateway"])
def test_largest_bodies(
    proof: Proof, launch: StartCollector, outside: Outside, start: Callable[..., RunningGateway], server: str
) -> None:
    most = kept = 0.0
    tried = 0

    def send(pid: int, address: str, body: bytes, warm: bytes) -> None:
        nonlocal most, kept, tried
        headers = {"content-type": "application/json"}
        for _ in range(20):
            httpx.post(address, content=warm, headers=headers, timeout=60)
        packed_body = gzip.compress(body, 1)
        with memory_of(pid) as growth:
            answer = httpx.post(
                address, content=packed_body, headers={**headers, "content-encoding": "gzip"}, timeout=120
            )
            assert answer.status_code < 500, answer.text
            assert answer.status_code != 413, answer.text
            for _ in range(300):  # the gateway still asks the other models after the client has its answer
                if growth.present <= MOST_KEPT:
                    break
                time.sleep(0.05)
        most, kept, tried = max(most, growth.peak_mib), max(kept, growth.kept / MIB), tried + 1
        assert growth.peak <= MOST_GROWTH, answer.text[:200]
        assert growth.kept <= MOST_KEPT

    if server == "collector":
        for body in list(largest_bodies(UNPACKED[server]).values()):
            collector = launch()
            send(collector.process.pid, f"{collector.address}/collect", body, GOOD)
            collector.stop()
    else:
        gateway = start(outside.config())
        for body in largest_questions(UNPACKED[server]).values():
            for path in ("/v1/route", "/v1/chat/completions"):
                send(gateway.process.pid, gateway.address + path, body, CHAT)
    proof.note(bodies=tried, memory_peak_MiB=most, memory_kept_MiB=kept)
