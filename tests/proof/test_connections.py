"""Servers: connections

Slow clients do not slow down a good one, and connections that come and go leave nothing behind.
"""

import contextlib
import itertools
import socket
import statistics
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.collector.conftest import Start as StartCollector
from tests.collector.conftest import body_of, point
from tests.gateway.world import Outside, RunningGateway, until
from tests.proof.conftest import Proof
from tests.proof.measure import MOST_GROWTH, memory_of, open_files, port_of

Start = Callable[..., RunningGateway]

PATIENT = {"header_timeout": 300.0, "body_timeout": 300.0, "idle_timeout": 300.0}
"""Deadlines so long that no slow connection is closed while a test measures."""


@dataclass(frozen=True)
class Server:
    """A server under test, and a valid request to it."""

    name: str
    pid: int
    address: str
    path: str
    body: bytes
    stop: Callable[[], int]

    def head(self, length: int) -> bytes:
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    def connections(self) -> float:
        """Return how many connections are open by the server's own count, including the one that asks."""
        page = httpx.get(f"{self.address}/metrics", timeout=30).text
        (line,) = [one for one in page.splitlines() if one.startswith(f"flywheel_{self.name}_connections ")]
        return float(line.split()[1])


@pytest.fixture
def servers(launch: StartCollector, outside: Outside, start: Start) -> list[Server]:
    """A collector and a gateway."""
    collector = launch(**PATIENT)
    gateway = start(outside.config(**{f"gateway__{name}": value for name, value in PATIENT.items()}))
    question = b'{"prompt": "1 + 1?"}'
    return [
        Server("collector", collector.process.pid, collector.address, "/collect", body_of(point(1)), collector.stop),
        Server("gateway", gateway.process.pid, gateway.address, "/v1/route", question, gateway.stop),
    ]  # fmt: skip


@contextlib.contextmanager
def slow_clients(server: Server, count: int) -> Iterator[None]:
    """Keep `count` connections open that each send a byte a second, half of them in the header, half in the body."""
    done = threading.Event()
    head = server.head(100_000)
    connections = [socket.create_connection(("127.0.0.1", port_of(server.address))) for _ in range(count)]

    def drip() -> None:
        for turn in (
            itertools.count()
        ):  # a twentieth of them each time, so that bytes come steadily and not in bursts
            if done.wait(1 / 20):
                return
            for connection in connections[turn % 20 :: 20]:
                with contextlib.suppress(OSError):
                    connection.send(b" ")

    thread = threading.Thread(target=drip)
    try:
        for number, connection in enumerate(connections):
            connection.setblocking(False)
            connection.send(head if number % 2 else head[:-20])
        until(lambda: server.connections() >= count)
        thread.start()
        yield
    finally:
        done.set()
        if thread.ident is not None:
            thread.join()
        for connection in connections:
            connection.close()


def p99(server: Server, requests: int) -> float:
    """Return the 99th percentile of a good client's response times, in ms."""
    waits = []
    with httpx.Client(base_url=server.address, timeout=60) as client:
        for _ in range(requests):
            begun = time.perf_counter()
            answer = client.post(
                server.path, content=server.body, headers={"content-type": "application/json"}
            )
            waits.append((time.perf_counter() - begun) * 1_000)
            assert answer.status_code == 200
    return statistics.quantiles(waits, n=100)[-1]


@pytest.mark.proof(
    "Slow clients do not slow a good one, nor the end of the server",
    "500 connections that send a byte a second; p99 of a good client at most twice that without them, the median of seven "
    "rounds that measure both by turns; SIGTERM meanwhile ends the process within 10 s",
)
@pytest.mark.parametrize("which", [0, 1], ids=["collector", "gateway"])
def test_slow_connections(proof: Proof, servers: list[Server], which: int) -> None:
    server = servers[which]
    count, rounds, requests = proof.size((50, 1, 50), (500, 7, 1_000))
    p99(server, 50)
    alone, crowded = [], []
    for _ in range(rounds):
        until(lambda: server.connections() <= 1)
        alone.append(p99(server, requests))
        with slow_clients(server, count):
            crowded.append(p99(server, requests))
    with slow_clients(server, count):
        begun = time.monotonic()
        assert server.stop() == 0
        seconds = time.monotonic() - begun
    proof.note(slow_connections=count)
    if proof.full:
        ratio = statistics.median(slowed / usual for slowed, usual in zip(crowded, alone, strict=True))
        proof.note(
            p99_alone_ms=statistics.median(alone),
            p99_crowded_ms=statistics.median(crowded),
            p99_ratio=ratio,
            end_after_s=seconds,
        )
        assert ratio <= 2
        assert seconds <= 10


def come_and_go(server: Server, number: int) -> None:
    """Open a connection, use it in one of six ways, and drop it; `number` decides how."""
    with socket.create_connection(("127.0.0.1", port_of(server.address)), 30) as connection:
        head = server.head(len(server.body))
        with contextlib.suppress(ConnectionError):
            connection.sendall(
                (b"", head[:20], head, head + server.body[:-3], head + server.body, b"\x16\x03\x01")[
                    number % 6
                ]
            )
        if number % 4 == 3:  # close with a reset instead of an orderly end
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.proof(
    "Connections that are opened and dropped leave neither files nor memory behind",
    "nothing, half a header, half a body, a whole request, garbage; half of the ends are resets",
)
@pytest.mark.parametrize("which", [0, 1], ids=["collector", "gateway"])
def test_opened_and_dropped(proof: Proof, servers: list[Server], which: int) -> None:
    server = servers[which]
    for number in range(120):
        come_and_go(server, number)
    until(lambda: server.connections() <= 1)
    files = open_files(server.pid)
    count = proof.size(600, 10_000)
    with memory_of(server.pid) as growth:
        for number in range(count):
            come_and_go(server, number)
        until(lambda: server.connections() <= 1)
    until(lambda: open_files(server.pid) <= files)
    assert growth.peak <= MOST_GROWTH
    proof.note(connections=count, files_left=0, memory_growth_MiB=growth.peak_mib)
