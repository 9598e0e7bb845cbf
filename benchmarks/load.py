"""A cheap load generator: one process, raw connections on uvloop, requests prepared in advance.

Run as `python -m benchmarks.load HOST PORT CONNECTIONS SECONDS SHAPE`. Prints one JSON line: requests, points
and bytes answered with 200 after one second of warm-up, seconds, and latencies in ms.
"""

import asyncio
import json
import random
import sys
import time

import uvloop

from benchmarks.common import percentile

MODELS = ("qwen-max", "qwen-math-7b", "qwen-code-7b", "qwen-medicine-7b", "qwen-writing-7b")
LARGE_BYTES = 18 * 1024
LARGE_BATCH = 10
SMALL_BYTES = 2 * 1024
SHAPES = ("large", "small", "large-gateway", "small-gateway")
WARM_UP_SECONDS = 1.0

_DIFFERENT = 32
_ENGLISH = "the integral of a continuous function over an interval converges and this proof follows by induction on n"
_CHINESE = "函数在区间上的积分收敛，证明由归纳法得到。"


def point(number: int, size: int, *, gateway: bool) -> dict[str, object]:
    """Return a data point of about `size` bytes; every fourth is Chinese.

    gateway: spelled as by the reference gateway.
    """
    draw = random.Random(number)
    words = list(_CHINESE) if number % 4 == 0 else [f"{word} " for word in _ENGLISH.split()]
    answer_bytes = max(40, (size - 300) // (len(MODELS) * 2) - 170)

    def text(length: int) -> str:
        pieces: list[str] = []
        total = 0
        while total < length:
            piece = draw.choice(words)
            pieces.append(piece)
            total += len(piece.encode())
        return "".join(pieces)

    answers = {model: text(answer_bytes) for model in MODELS}
    raw = {
        model: {
            "id": f"chatcmpl-{number}",
            "model": model,
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
            ],
            "usage": {"prompt_tokens": 20, "completion_tokens": 300, "total_tokens": 320},
        }
        for model, answer in answers.items()
    }
    question = f"{number}: {text(120)}"
    scores = {model: round(draw.random(), 3) for model in MODELS}
    if gateway:
        return {
            "Question": question,
            "Responses": {
                model: {
                    "Model": model,
                    "Answer": answers[model],
                    "Latency": 812,
                    "Error": None,
                    "RawResponse": raw[model],
                }
                for model in MODELS
            },
            "Scores": scores,
            "Timestamp": 1_767_225_600 + number,
            "Classification": None,
        }
    return {
        "id": f"benchmark-{number}",
        "question": question,
        "responses": {
            model: {
                "model": model,
                "answer": answers[model],
                "latency_ms": 812,
                "error": None,
                "raw_response": raw[model],
            }
            for model in MODELS
        },
        "scores": scores,
        "timestamp": 1_767_225_600 + number,
    }


def requests_of(shape: str) -> tuple[list[bytes], int]:
    """Return complete HTTP requests of a shape, and the number of points in each."""
    size, count = (LARGE_BYTES, LARGE_BATCH) if shape.startswith("large") else (SMALL_BYTES, 1)
    gateway = shape.endswith("gateway")
    requests = []
    for at in range(_DIFFERENT):
        points = [point(at * count + item, size, gateway=gateway) for item in range(count)]
        envelope = {"data_points": points, "count": count, "timestamp": 1_767_225_600}
        body = json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
        head = f"POST /collect HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        requests.append(head.encode() + body)
    return requests, count


class _Client(asyncio.Protocol):
    """Sends one request after another on one connection."""

    def __init__(self, load: "_Load", first: int) -> None:
        self.load = load
        self.next = first
        self.answer = b""
        self.started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.next += 1
        self.started = time.perf_counter()
        self.transport.write(self.load.requests[self.next % len(self.load.requests)])  # type: ignore[attr-defined] # a TCP transport

    def data_received(self, data: bytes) -> None:
        self.answer = self.answer + data if self.answer else data
        head, found, body = self.answer.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().find(b"content-length: ")
        if len(body) < int(head[at + 16 :].split(b"\r\n", 1)[0]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.load.fail(f"answered {self.answer[:300]!r}")
            return
        self.answer = b""
        self.load.note(self.started)
        if not self.load.over:
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.load.over:
            self.load.fail(f"the server closed the connection: {error}")


class _Load:
    def __init__(self, requests: list[bytes]) -> None:
        self.requests = requests
        self.latencies: list[float] = []
        self.counting = False
        self.over = False
        self.failure = ""

    def note(self, started: float) -> None:
        if self.counting:
            self.latencies.append(time.perf_counter() - started)

    def fail(self, reason: str) -> None:
        self.failure = self.failure or reason
        self.over = True


async def run(host: str, port: int, connections: int, seconds: float, shape: str) -> dict[str, float]:
    """Put a server under load and return the figures. Raises RuntimeError when a response is not 200."""
    requests, points = requests_of(shape)
    load = _Load(requests)
    loop = asyncio.get_running_loop()
    transports = []
    for at in range(connections):
        transport, _ = await loop.create_connection(lambda at=at: _Client(load, at * 7), host, port)  # type: ignore[misc] # mypy cannot see through the default
        transports.append(transport)
    await asyncio.sleep(WARM_UP_SECONDS)
    load.counting = True
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    load.counting = False
    elapsed = time.perf_counter() - started
    load.over = True
    for transport in transports:
        transport.abort()
    if load.failure or not load.latencies:
        raise RuntimeError(load.failure or "no request was answered in time")
    size = sum(map(len, requests)) / len(requests)
    return {
        "requests": len(load.latencies),
        "points": len(load.latencies) * points,
        "bytes": len(load.latencies) * size,
        "seconds": elapsed,
        "p50_ms": percentile(load.latencies, 0.5) * 1e3,
        "p99_ms": percentile(load.latencies, 0.99) * 1e3,
    }


if __name__ == "__main__":
    address, port, connections, seconds, shape = sys.argv[1:]
    print(json.dumps(uvloop.run(run(address, int(port), int(connections), float(seconds), shape))))
