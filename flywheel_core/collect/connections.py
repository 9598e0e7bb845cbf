"""Connections of the fan-out's and the gateway's HTTP clients: kept alive and guarded."""

import asyncio
import io
import ssl
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeVar

import aiohttp

from flywheel_core.collect.addresses import Guard
from flywheel_core.collect.one_answer import OneAnswer

IDLE_SECONDS = 30.0
"""Seconds that an idle connection is kept."""
LARGE_BODY_BYTES = 1_048_576
"""Size from which request bodies are written in pieces, so that other tasks can run in between."""

_CLOSED_MEANWHILE = (
    aiohttp.ServerDisconnectedError,
    aiohttp.ClientOSError,
    aiohttp.ClientConnectionResetError,
)
"""Errors of a kept connection that the peer has closed, when reused: an end, a reset, a refused write."""

T = TypeVar("T")


class Connections:
    """One connection per request in progress; idle connections are reused.

    guard: which addresses are allowed; assigning another guard affects new connections only. certificates:
    which authorities to trust for https; None for the system's. options: passed on to aiohttp's sessions.
    """

    def __init__(
        self, guard: Guard | None = None, certificates: ssl.SSLContext | None = None, **options: Any
    ) -> None:
        self.guard = guard or Guard()
        self._certificates = certificates
        self._options = options
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """Close all connections; requests in progress fail."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def _over_one(self, send: Callable[[aiohttp.ClientSession, SimpleNamespace], Awaitable[T]]) -> T:
        """Return what `send` returns, which makes one request with the given session and trace context.

        If a kept connection breaks, the peer most likely closed it before the request arrived, so the request
        is sent again. But the request itself may make the peer close connections. So the second try uses a
        new connection, not another kept one.
        """
        context = SimpleNamespace(reused=False)
        try:
            return await send(self._session(kept=True), context)
        except _CLOSED_MEANWHILE:
            if not context.reused:
                raise
        return await send(self._session(kept=False), context)

    def _session(self, *, kept: bool) -> aiohttp.ClientSession:
        """Return the session.

        kept: its connections are kept for later requests; otherwise each request has its own.
        """
        if kept not in self._sessions:
            trace = aiohttp.TraceConfig()
            trace.on_connection_reuseconn.append(_note_reuse)
            connector = aiohttp.TCPConnector(
                limit=0,  # the callers limit the number of requests
                keepalive_timeout=IDLE_SECONDS if kept else None,
                force_close=not kept,
                ssl=self._certificates or True,
                socket_factory=lambda info: self.guard.open_socket(info),
            )
            # aiohttp has no public way to set the protocol class.
            connector._factory = partial(OneAnswer, loop=asyncio.get_running_loop())  # type: ignore[assignment] # a subclass
            self._sessions[kept] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # the readers decompress, piece by piece and bounded
                trace_configs=[trace],
                **self._options,
            )
        return self._sessions[kept]


async def _note_reuse(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
    context.trace_request_ctx.reused = True


def in_pieces(body: bytes) -> bytes | io.BytesIO:
    """Return a request's body in the form in which aiohttp should write it."""
    return io.BytesIO(body) if len(body) >= LARGE_BODY_BYTES else body


def forget_frames(error: BaseException | None) -> None:
    """Release the request body that a connection error and its causes keep alive.

    aiohttp keeps the error in a local variable of a frame in the error's own traceback. This cycle would hold
    the whole body until the garbage collector runs. From Python 3.13 on, a cleared frame still holds the
    frames that called it, so the tracebacks go as well.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__  # not its context, which may be an error that the caller still handles


def refused_by_proxy(error: aiohttp.ClientHttpProxyError) -> str:
    """Return why there is no way through the proxy, without its own words."""
    return f"the proxy answered {error.status}"


def what_broke(error: aiohttp.ClientError) -> str:
    """Return why a response is incomplete, in fixed words.

    aiohttp's own messages quote what the peer sent, and would end up in logs.
    """
    if isinstance(error, aiohttp.ClientResponseError):
        return f"the answer is not HTTP ({type(error.__cause__ or error).__name__})"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the body is not complete"
    if isinstance(error, aiohttp.ClientOSError):
        return error.strerror or type(error).__name__
    return "closed by the other side"
