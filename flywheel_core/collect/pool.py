"""The default HTTP client: aiohttp, bounded, its errors as those of httpx.

Chosen by measuring (`python -m benchmarks.fanout`): httpx's own transport slows down with every call under way, and with
pyreqwest a cancelled call goes on, so that a model answers for nobody. Proxies of the environment are not used.
"""

import asyncio
import io
import ssl
import traceback
import zlib
from types import SimpleNamespace

import aiohttp
import httpx
from yarl import URL

from flywheel_core.collect.addresses import Guard, refused
from flywheel_core.collect.http import USER_AGENT, Endpoint, Reply, too_large

IDLE_SECONDS = 30.0
"""How long a connection without a request is kept."""
PIECE_BYTES = 65_536
LARGE_BODY_BYTES = 1_048_576
"""Request bodies from here on are written in pieces, between which others get their turn."""

CLOSED_MEANWHILE = (
    aiohttp.ServerDisconnectedError,
    aiohttp.ClientOSError,
    aiohttp.ClientConnectionResetError,
)
"""How a kept connection that the other side gave up shows when it is used again: an end, a reset, or a refused write."""


class PooledHttp:
    """Sends POSTs over as many connections as there are calls under way; idle ones are used again.

    certificates: what to trust for https; None for the system's authorities. guard: which addresses are taken; another
    one holds for the connections from then on.
    """

    def __init__(self, certificates: ssl.SSLContext | None = None, guard: Guard | None = None) -> None:
        self.guard = guard or Guard()
        self._certificates = certificates
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def post(
        self,
        endpoint: Endpoint,
        body: bytes,
        *,
        timeout: float,  # noqa: ASYNC109 - the deadline of the call, which also ends its connection
        max_bytes: int,
    ) -> Reply:
        """See `Http.post`."""
        try:
            async with asyncio.timeout(timeout):
                attempt = SimpleNamespace(reused=False)
                try:
                    return await self._exchange(endpoint, body, max_bytes, attempt, kept=True)
                except CLOSED_MEANWHILE:
                    if not attempt.reused:
                        raise
                # most likely the other side closed a kept connection meanwhile, and the request did not get there; but
                # it may be what the other side ends connections for, so it goes to a new one, and not to every kept one
                return await self._exchange(endpoint, body, max_bytes, attempt, kept=False)
        except aiohttp.ConnectionTimeoutError:
            raise httpx.ConnectTimeout(f"no connection within {endpoint.connect_timeout:.3g} s") from None
        except TimeoutError:
            raise httpx.ReadTimeout(f"no whole answer within {timeout:.3g} s") from None
        except aiohttp.ClientConnectorError as error:
            if (blocked := refused(error)) is not None:
                raise blocked from None
            forget_frames(error)
            raise httpx.ConnectError(f"no connection: {error.strerror or error}") from None
        except aiohttp.ClientResponseError as error:
            raise httpx.RemoteProtocolError(what_broke(error)) from None
        except aiohttp.ClientError as error:
            raise httpx.ReadError(f"the connection was lost: {what_broke(error)}") from None

    async def close(self) -> None:
        """Give all connections back."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def _exchange(
        self, endpoint: Endpoint, body: bytes, max_bytes: int, attempt: SimpleNamespace, *, kept: bool
    ) -> Reply:
        limits = aiohttp.ClientTimeout(total=None, sock_connect=endpoint.connect_timeout)
        async with self._opened(kept).post(
            URL(endpoint.url, encoded=True),
            data=io.BytesIO(body) if len(body) >= LARGE_BODY_BYTES else body,
            headers=endpoint.headers,
            allow_redirects=False,
            timeout=limits,
            trace_request_ctx=attempt,
        ) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status, headers, await _body(response, max_bytes))

    def _opened(self, kept: bool) -> aiohttp.ClientSession:
        """What sends; kept: over connections that are kept for later calls, otherwise each over one of its own."""
        if kept not in self._sessions:
            trace = aiohttp.TraceConfig()
            trace.on_connection_reuseconn.append(_note_reuse)
            self._sessions[kept] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,  # what calls bounds how many are under way
                    keepalive_timeout=IDLE_SECONDS if kept else None,
                    force_close=not kept,
                    ssl=self._certificates or True,
                    socket_factory=lambda info: self.guard.open_socket(info),
                ),
                headers={
                    "user-agent": USER_AGENT,
                    "accept-encoding": "gzip",
                    "content-type": "application/json",
                },
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # unpacked here, piece by piece and bounded
                trace_configs=[trace],
            )
        return self._sessions[kept]


def forget_frames(error: aiohttp.ClientConnectorError) -> None:
    """Let go of what was to be sent: aiohttp keeps the error in a variable of a frame that the error's own traceback holds,
    a circle that would keep the whole body until the garbage collector comes by."""
    traceback.clear_frames(error.__traceback__)


def what_broke(error: aiohttp.ClientError) -> str:
    """Why there is no whole answer, in words of our own: aiohttp's quote what the other side sent, and end up in logs."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"the answer is not HTTP ({type(error.__cause__ or error).__name__})"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the body is not complete"
    if isinstance(error, aiohttp.ClientOSError):
        return error.strerror or type(error).__name__
    return "closed by the other side"


async def _note_reuse(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
    context.trace_request_ctx.reused = True


async def _body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """The whole body, unpacked. Raises UpstreamError beyond `max_bytes`, httpx.DecodingError for a broken packing."""
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise httpx.DecodingError(f"the body is encoded as {encoding[:40]!r}, which was not asked for")
    if (response.content_length or 0) > max_bytes:
        raise too_large(max_bytes)
    unpack = None if encoding in ("identity", "") else zlib.decompressobj(zlib.MAX_WBITS | 32)
    whole = bytearray()
    async for piece in response.content.iter_chunked(PIECE_BYTES):
        if unpack is None:
            whole += piece
        else:
            try:
                whole += unpack.decompress(piece, max_bytes - len(whole) + 1)
            except zlib.error as error:
                raise httpx.DecodingError(f"the body cannot be unpacked: {error}") from None
        if len(whole) > max_bytes or (unpack is not None and unpack.unconsumed_tail):
            raise too_large(max_bytes)
    if unpack is not None and not unpack.eof:
        raise httpx.DecodingError("the packed body ends early")
    return bytes(whole)
