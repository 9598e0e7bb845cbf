"""HTTP to the models: answers are read piece by piece as they come, nothing is unpacked, redirected or kept back.

Leaving the block of `Upstream.open` before the end, also by cancellation, ends the connection: the model stops.
HTTP libraries were tried: httpx slows down with every call under way, and with pyreqwest a cancelled call goes on.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from flywheel_core.errors import ConfigError, UpstreamError
from flywheel_gateway.connection import Connection
from flywheel_gateway.headers import RawHeaders

IDLE_SECONDS = 30.0
"""How long an unused connection is kept."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where requests go. prefix: what stands in front of every path; host_header: the value of Host."""

    host: str
    port: int
    secure: bool
    prefix: str
    host_header: str


def parse_address(url: str) -> Address:
    """The address that a base URL names. Raises ConfigError when it is none."""
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii").strip("[]")
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ConfigError(f"{url!r} is not an address: {error}") from None
    if not host or port > 65_535 or parsed.userinfo or parsed.query or parsed.fragment:
        raise ConfigError(f"{url!r} is not an address of host, port and path alone")
    prefix = parsed.raw_path.decode("ascii").rstrip("/")
    return Address(host, port, parsed.scheme == "https", prefix, parsed.netloc.decode("ascii"))


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a model. path: with its query; streamed: the time limit is for each piece of the answer, not for
    the whole; connect_timeout, timeout: in s."""

    method: str
    address: Address
    path: str
    headers: RawHeaders
    body: bytes
    connect_timeout: float
    timeout: float
    streamed: bool

    def message(self) -> bytes:
        """The request as it is sent."""
        lines = [
            f"{self.method} {self.address.prefix}{self.path} HTTP/1.1".encode("latin-1"),
            b"host: " + self.address.host_header.encode(),
            *(b"%b: %b" % header for header in self.headers),
        ]
        if self.body or self.method in ("POST", "PUT", "PATCH"):
            lines.append(b"content-length: %d" % len(self.body))
        return b"%b\r\n\r\n%b" % (b"\r\n".join(lines), self.body)


class Reply:
    """An answer that has begun. headers: as they came, names in lower case."""

    def __init__(
        self, connection: Connection, status: int, headers: RawHeaders, call: Call, ends: float
    ) -> None:
        self._connection = connection
        self._call = call
        self._ends = ends
        self.status = status
        self.headers = headers

    def header(self, name: bytes) -> str | None:
        """The first value of a header, or None."""
        return next((value.decode("latin-1") for found, value in self.headers if found == name), None)

    async def read(self) -> bytes:
        """The next piece of the body, empty at its end. Raises UpstreamError `timeout` or `connection_lost`."""
        if self._connection.ready:
            return await self._connection.read()
        if self._call.streamed:
            self._ends = asyncio.get_running_loop().time() + self._call.timeout
        try:
            async with asyncio.timeout_at(self._ends):
                return await self._connection.read()
        except TimeoutError:
            raise _too_slow(self._call) from None


class Upstream:
    """The connections to all models. certificates: what to trust for https; None for the system's authorities."""

    def __init__(self, certificates: ssl.SSLContext | None = None) -> None:
        self._certificates = certificates
        self._idle: dict[Address, deque[Connection]] = {}

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[Reply]:
        """Send a request and give the answer once its headers are there.

        Raises UpstreamError: `connect_failed`, `connect_timeout`, `timeout`, `connection_lost`.
        """
        ends = asyncio.get_running_loop().time() + call.timeout
        try:
            async with asyncio.timeout_at(ends):
                connection, status, headers = await self._send(call)
        except TimeoutError:
            raise _too_slow(call) from None
        try:
            yield Reply(connection, status, headers, call, ends)
        finally:
            self._give_back(call.address, connection)

    async def close(self) -> None:
        """Close the connections that are not in use."""
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()
        await asyncio.sleep(0)  # lets the loop tell the connections that they are closed

    async def _send(self, call: Call) -> tuple[Connection, int, RawHeaders]:
        message = call.message()
        while True:
            connection = self._reusable(call.address) or await self._connect(call)
            try:
                status, headers = await connection.request(message, bodyless=call.method == "HEAD")
                return connection, status, headers
            except UpstreamError:
                connection.close()
                # a kept connection that the other side closed meanwhile: the request did not get there
                if connection.requests == 1 or connection.answered:
                    raise
            except BaseException:
                connection.close()
                raise

    def _reusable(self, address: Address) -> Connection | None:
        idle = self._idle.get(address)
        while idle:
            connection = idle.pop()
            if connection.usable:
                return connection
        return None

    def _give_back(self, address: Address, connection: Connection) -> None:
        connection.release()
        if not connection.usable:
            return
        idle = self._idle.setdefault(address, deque())
        idle.append(connection)
        oldest = connection.last_used - IDLE_SECONDS
        while idle[0].last_used < oldest or not idle[0].usable:
            idle.popleft().close()

    async def _connect(self, call: Call) -> Connection:
        loop = asyncio.get_running_loop()
        address = call.address
        if address.secure and self._certificates is None:
            self._certificates = ssl.create_default_context()
        try:
            async with asyncio.timeout(call.connect_timeout):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop),
                    address.host,
                    address.port,
                    ssl=self._certificates if address.secure else None,
                )
        except TimeoutError:
            raise UpstreamError(
                f"no connection within {call.connect_timeout:g} s", code="connect_timeout"
            ) from None
        except OSError as error:
            raise UpstreamError(f"no connection: {error.strerror or error}", code="connect_failed") from None
        return connection


def _too_slow(call: Call) -> UpstreamError:
    waited = "nothing came for" if call.streamed else "no whole answer within"
    return UpstreamError(f"{waited} {call.timeout:g} s", code="timeout")
