"""When the other side has given up a kept connection with a reset, a new one is used and nobody notices."""

import asyncio
import contextlib
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator

import pytest

from flywheel_core.collect.http import Endpoint
from flywheel_core.collect.pool import PooledHttp
from flywheel_core.errors import UpstreamError
from flywheel_gateway.upstream import Call, Upstream

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
PART = WHOLE.replace(b"length: 2", b"length: 20")
RESET = struct.pack("ii", 1, 0)


class Scripted(ABC):
    """Accepts connections and answers each on its own thread, by the `_answer` of a subclass.

    It listens from `super().__init__()` on, so a subclass sets its own fields before calling that.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1/chat/completions"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        try:
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()
        except OSError:
            return

    @abstractmethod
    def _answer(self, connection: socket.socket) -> None: ...


class Resetting(Scripted):
    """Answers the first request of each connection, and ends the connection when a second one comes.

    Without `parting` it resets the connection at the second request's first byte; with it, it reads that
    request, sends `parting` and closes. requests: how many came, whole or not. together: a barrier at which
    first requests wait.
    """

    def __init__(self) -> None:
        self.parting = b""
        self.requests = 0
        self.together = threading.Barrier(1)
        super().__init__()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.recv(65_536)
            self.requests += 1
            self.together.wait(30)
            connection.sendall(WHOLE)
            if connection.recv(65_536 if self.parting else 1):
                self.requests += 1
                connection.sendall(self.parting)
                if not self.parting:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


@pytest.fixture
def server() -> Iterator[Resetting]:
    server = Resetting()
    yield server
    server.close()


def test_a_reset_costs_collection_no_call(server: Resetting) -> None:
    async def main() -> list[int]:
        http = PooledHttp()
        endpoint = Endpoint(server.url)
        statuses = [(await http.post(endpoint, b"{}", timeout=5, max_bytes=99)).status for _ in range(4)]
        await http.close()
        return statuses

    assert asyncio.run(main()) == [200] * 4


def test_what_ends_one_kept_connection_does_not_go_to_the_others(server: Resetting) -> None:
    async def main() -> int:
        http = PooledHttp()
        endpoint = Endpoint(server.url)
        server.together = threading.Barrier(5)
        await asyncio.gather(*(http.post(endpoint, b"{}", timeout=30, max_bytes=99) for _ in range(5)))
        server.together = threading.Barrier(1)
        before = server.requests
        await http.post(endpoint, b"{}", timeout=30, max_bytes=99)
        await http.close()
        return server.requests - before

    assert asyncio.run(main()) == 2, "on a kept connection, and on a new one"


async def asked(upstream: Upstream, url: str) -> bytes:
    async with upstream.open(Call("POST", url, [], b"{}", 2.0, 5.0, streamed=False)) as reply:
        pieces = []
        while piece := await reply.read():
            pieces.append(piece)
        return b"".join(pieces)


def test_a_reset_costs_the_gateways_users_no_call(server: Resetting) -> None:
    async def main() -> list[bytes]:
        upstream = Upstream()
        bodies = [await asked(upstream, server.url) for _ in range(4)]
        await upstream.close()
        return bodies

    assert asyncio.run(main()) == [b"{}"] * 4


def test_an_answer_that_has_begun_is_not_asked_for_again(server: Resetting) -> None:
    server.parting = PART

    async def main() -> None:
        upstream = Upstream()
        await asked(upstream, server.url)
        with pytest.raises(UpstreamError, match="not complete"):
            await asked(upstream, server.url)
        await upstream.close()

    asyncio.run(main())
    assert server.requests == 2


class Talkative(Scripted):
    """Answers the first request of each connection with `first`, and sends `later` once `go_on` is set.

    ended: set when the other side has closed the connection.
    """

    def __init__(self, first: bytes, later: bytes) -> None:
        self.go_on, self.ended = threading.Event(), threading.Event()
        self._first, self._later = first, later
        super().__init__()

    def close(self) -> None:
        self.go_on.set()
        super().close()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            connection.sendall(self._first)
            self.go_on.wait(30)
            connection.sendall(self._later)
            connection.settimeout(30)
            if not connection.recv(1):
                self.ended.set()


def test_an_answer_that_nobody_asked_for_is_not_given_to_the_next_request() -> None:
    server = Talkative(WHOLE, WHOLE.replace(b"{}", b"[]"))

    async def main() -> list[bytes]:
        upstream = Upstream()
        bodies = [await asked(upstream, server.url)]
        server.go_on.set()
        await asyncio.to_thread(server.ended.wait, 5)
        bodies.append(await asked(upstream, server.url))
        await upstream.close()
        return bodies

    assert asyncio.run(main()) == [b"{}"] * 2
    assert server.ended.is_set()
    server.close()


def test_interim_answers_without_end_end_the_call() -> None:
    """This holds however fast they come: aiohttp alone would skip interim replies without end."""
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    server = Talkative(interim * 3_000, b"")

    async def main() -> None:
        upstream = Upstream()
        with pytest.raises(UpstreamError, match="not HTTP"):
            await asked(upstream, server.url)
        await upstream.close()

    asyncio.run(main())
    server.close()


def test_a_few_interim_answers_are_passed_over() -> None:
    server = Talkative(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + WHOLE, b"")

    async def main() -> bytes:
        upstream = Upstream()
        body = await asked(upstream, server.url)
        await upstream.close()
        return body

    assert asyncio.run(main()) == b"{}"
    server.close()
