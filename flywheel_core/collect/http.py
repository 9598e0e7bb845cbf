"""One POST with a bounded answer, as the errors of httpx: what fan-out, scoring and uploads send with.

`PooledHttp` (in `pool`) is the default. Any `httpx.AsyncClient` takes its place, for its proxies, certificates or
transports, at the price that httpx's own transport slows down with every call under way.
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
    """The whole answer to one request. headers: names in lower case; the last of several of one name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Endpoint:
    """Where a POST goes and with which headers; made once, used for every call.

    url: http or https address with path and query. connect_timeout: time to connect, in s.

    Raises UsageError when the address or a header cannot be sent.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    connect_timeout: float = 2.0
    host: str = field(init=False)
    port: int = field(init=False)
    secure: bool = field(init=False)
    head: bytes = field(init=False)
    """The request line and all headers but Content-Length, as they are sent."""

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
            host = url.raw_host.decode("ascii")
            port = url.port or (443 if url.scheme == "https" else 80)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise UsageError(f"{self.url!r} is not an address: {error}") from None
        if url.scheme not in ("http", "https") or not host or port > 65_535:
            raise UsageError(f"{self.url!r} is not an http or https address with host and port")
        lines = [f"POST {url.raw_path.decode('ascii')} HTTP/1.1", f"host: {url.netloc.decode('ascii')}"]
        fields = {"user-agent": USER_AGENT, "accept-encoding": "gzip", "content-type": "application/json"}
        fields.update((name.lower(), value) for name, value in self.headers.items())
        lines.extend(f"{name}: {value}" for name, value in fields.items())
        if any("\r" in line or "\n" in line or "\0" in line for line in lines):
            raise UsageError(f"a header for {self.url} has a line end in it")
        try:
            head = "\r\n".join(lines).encode("latin-1")
        except UnicodeEncodeError:
            raise UsageError(f"a header for {self.url} is not Latin-1") from None
        for name, value in (
            ("host", host.strip("[]")),
            ("port", port),
            ("secure", url.scheme == "https"),
            ("head", head),
        ):
            object.__setattr__(self, name, value)


class Http(Protocol):
    """What can send a POST."""

    async def post(
        self,
        endpoint: Endpoint,
        body: bytes,
        *,
        timeout: float,  # noqa: ASYNC109 - the deadline of the call, which also ends its connection
        max_bytes: int,
    ) -> Reply:
        """The reply, whatever its status. Redirects are not followed. Cancelling it ends its connection.

        timeout: for everything, in s. max_bytes: largest body, as sent and unpacked.

        Raises httpx.ConnectTimeout and httpx.ConnectError when there is no connection, httpx.ReadTimeout,
        httpx.RemoteProtocolError or httpx.ReadError when the connection breaks or does not speak HTTP,
        httpx.DecodingError, and UpstreamError (`body_too_large`).
        """

    async def close(self) -> None:
        """Give all connections back."""


class HttpxHttp:
    """A client of the caller's own. It is not closed here."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def post(
        self,
        endpoint: Endpoint,
        body: bytes,
        *,
        timeout: float,  # noqa: ASYNC109 - httpx has no deadline for the whole, so it is set here
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
        """Nothing: the client belongs to the caller."""


def too_large(max_bytes: int) -> UpstreamError:
    """The error for a body beyond its bound."""
    return UpstreamError(f"the body is larger than {max_bytes} bytes", code="body_too_large")
