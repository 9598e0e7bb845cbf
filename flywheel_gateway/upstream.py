"""HTTP to the models: answers are read piece by piece as they come, nothing is unpacked, redirected or kept back.

Leaving the block of `Upstream.open` before the end, also by cancellation, closes the connection: the model stops.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from pyreqwest import exceptions
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.response import Response

from flywheel_core.errors import UpstreamError

USER_AGENT = "flywheel"
IDLE_SECONDS = 30
"""How long an unused connection is kept."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a model. streamed: the time limit is for each piece of the answer, not for the whole.

    connect_timeout, timeout: in s.
    """

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    connect_timeout: float
    timeout: float
    streamed: bool


class Reply:
    """An answer that has begun. status: HTTP status; headers: as they came."""

    def __init__(self, response: Response, call: Call, deadline: float) -> None:
        self._reader = response.body_reader
        self._call = call
        self._deadline = deadline
        self.status = response.status
        self.headers = [(name, str(value)) for name, value in response.headers.items()]

    def header(self, name: str) -> str | None:
        """The first value of a header, named in lower case, or None."""
        return next((value for found, value in self.headers if found.lower() == name), None)

    async def read(self) -> bytes:
        """The next piece of the body, empty at its end. Raises UpstreamError."""
        if self._call.streamed:
            self._deadline = asyncio.get_running_loop().time() + self._call.timeout
        try:
            async with asyncio.timeout_at(self._deadline):
                piece = await self._reader.read_chunk()
        except TimeoutError:
            raise _too_slow(self._call) from None
        except exceptions.PyreqwestError as error:
            raise _failure(error) from error
        return b"" if piece is None else piece.to_bytes()


class Upstream:
    """The connections to all models."""

    def __init__(self) -> None:
        self._clients: dict[float, Client] = {}

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[Reply]:
        """Send a request and give the answer once its headers are there.

        Raises UpstreamError: `connect_failed`, `connect_timeout`, `timeout`, `connection_lost`.
        """
        client = self._clients.get(call.connect_timeout) or self._connect(call.connect_timeout)
        request = client.request(call.method, call.url).headers(call.headers)
        if call.body:
            request = request.body_bytes(call.body)
        if call.streamed:
            request = request.streamed_read_buffer_limit(0)  # else it waits for much of the body
        deadline = asyncio.get_running_loop().time() + call.timeout
        stream = request.build_streamed()
        try:
            async with asyncio.timeout_at(deadline):
                response = await stream.__aenter__()
        except TimeoutError as error:
            if isinstance(error, exceptions.PyreqwestError):
                raise _failure(error) from error
            raise _too_slow(call) from None
        except exceptions.PyreqwestError as error:
            raise _failure(error) from error
        try:
            yield Reply(response, call, deadline)
        finally:
            await stream.__aexit__(None, None, None)

    async def close(self) -> None:
        """Close all connections; what is under way fails."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()

    def _connect(self, connect_timeout: float) -> Client:
        """A client for one time to connect, which pyreqwest takes for a client and not for a request."""
        client = (
            ClientBuilder()
            .user_agent(USER_AGENT)
            .connect_timeout(timedelta(seconds=connect_timeout))
            .pool_idle_timeout(timedelta(seconds=IDLE_SECONDS))
            .follow_redirects(False)
            .referer(False)
            .no_proxy()
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .build()
        )
        self._clients[connect_timeout] = client
        return client


_CODES: tuple[tuple[type[exceptions.PyreqwestError], str], ...] = (
    (exceptions.ConnectTimeoutError, "connect_timeout"),
    (exceptions.RequestTimeoutError, "timeout"),
    (exceptions.ConnectError, "connect_failed"),
)


def _failure(error: exceptions.PyreqwestError) -> UpstreamError:
    causes = (getattr(error, "details", None) or {}).get("causes") or []
    words = "; ".join([error.message, *(cause["message"] for cause in causes[-1:])])
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "connection_lost")
    return UpstreamError(words, code=code)


def _too_slow(call: Call) -> UpstreamError:
    waited = "nothing came for" if call.streamed else "no whole answer within"
    return UpstreamError(f"{waited} {call.timeout:g} s", code="timeout")
