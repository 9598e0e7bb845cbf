"""One POST with a bounded reply and httpx's errors: how fan-out, scoring and uploads send requests.

`PooledHttp` (in `pool`) is the default. Any `httpx.AsyncClient` can replace it, for its proxies, certificates
or transports, but httpx's own transport slows down with every call in progress.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import httpx

from flywheel_core.errors import UpstreamError, UsageError

USER_AGENT = "flywheel"


@dataclass(frozen=True, slots=True)
class Reply:
    """The complete reply to one request.

    headers: by lower-case name; of a repeated header `PooledHttp` keeps the last value, `HttpxHttp` joins
    all.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Endpoint:
    """Where a POST goes and with which headers; made once, used for every call.

    url: http or https address with path and query; connect_timeout: in seconds; proxy: address of the HTTP proxy
    on the way there, user and password included, or None. A client of the caller's own has its own proxies.

    Raises UsageError when the address or a header cannot be sent.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    connect_timeout: float = 2.0
    proxy: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
            known = url.scheme in ("http", "https") and url.raw_host and (url.port or 0) <= 65_535
        except (httpx.InvalidURL, UnicodeError) as error:
            raise UsageError(f"{self.url!r} is not an address: {error}") from None
        if not known:
            raise UsageError(f"{self.url!r} is not an http or https address with host and port")
        for line in (part for header in self.headers.items() for part in header):
            if not line.isascii() or any(mark in line for mark in "\r\n\0"):
                raise UsageError(f"a header for {self.url} has a line end in it or is not ASCII")


class Http(Protocol):
    """Anything that can send a POST."""

    async def post(
        self,
        endpoint: Endpoint,
        body: bytes,
        *,
        timeout: float,  # noqa: ASYNC109 - the deadline of the call, which also ends its connection
        max_bytes: int,
    ) -> Reply:
        """Return the reply, whatever its status.

        Redirects are not followed. Cancellation closes the connection.

        timeout: for the whole call, in seconds; max_bytes: largest body, both as sent and decompressed.

        Raises httpx.ConnectTimeout or httpx.ConnectError when there is no connection, httpx.ReadTimeout when
        the time is up, httpx.RemoteProtocolError or httpx.ReadError when the connection breaks or does not
        speak HTTP, httpx.DecodingError when the body cannot be decompressed, UpstreamError `body_too_large`;
        `PooledHttp` also `address_blocked`.
        """

    async def close(self) -> None:
        """Close all connections."""


class HttpxHttp:
    """The caller's own client, used as it is and not closed here.

    It is not guarded: `network.allow_link_local` and `allow_private_upstreams` apply only to connections that
    Flywheel opens, and httpx does not reveal the address to which its transports or a proxy connect. Checking
    the name before each call would not help, because it may resolve to something else a moment later. A
    caller that passes a client can check configured addresses with `addresses.check_address`, as the gateway
    does for its own.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def post(
        self,
        endpoint: Endpoint,
        body: bytes,
        *,
        timeout: float,  # noqa: ASYNC109 - httpx has no deadline for a whole call
        max_bytes: int,
    ) -> Reply:
        """See `Http.post`."""
        headers = {"content-type": "application/json", **endpoint.headers}
        limits = httpx.Timeout(timeout, connect=endpoint.connect_timeout)
        request = self._client.build_request(
            "POST", endpoint.url, content=body, headers=headers, timeout=limits
        )
        content = bytearray()
        try:
            async with asyncio.timeout(timeout):
                response = await self._client.send(request, stream=True, follow_redirects=False)
                try:
                    async for piece in response.aiter_bytes(65_536):
                        content += piece
                        if len(content) > max_bytes:
                            raise too_large(max_bytes)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise httpx.ReadTimeout("no whole answer in time", request=request) from None
        return Reply(response.status_code, dict(response.headers), bytes(content))

    async def close(self) -> None:
        """Do nothing: the client belongs to the caller."""


def too_large(max_bytes: int) -> UpstreamError:
    """Return the error for a body that exceeds its limit."""
    return UpstreamError(f"the body is larger than {max_bytes} bytes", code="body_too_large")
