"""What both HTTP clients of ours share, fan-out's and the gateway's: connections of aiohttp, kept, guarded, and what breaks them."""

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
"""How long a connection without a request is kept."""
LARGE_BODY_BYTES = 1_048_576
"""Request bodies from here on are written in pieces, between which others get their turn."""

_CLOSED_MEANWHILE = (
    aiohttp.ServerDisconnectedError,
    aiohttp.ClientOSError,
    aiohttp.ClientConnectionResetError,
)
"""How a kept connection that the other side gave up shows when it is used again: an end, a reset, or a refused write."""

T = TypeVar("T")


class Connections:
    """As many connections as there are requests under way; idle ones are used again.

    guard: which addresses are taken; another one holds for the connections from then on. certificates: what to trust for https;
    None for the system's authorities. options: further ones of aiohttp's sessions.
    """

    def __init__(
        self, guard: Guard | None = None, certificates: ssl.SSLContext | None = None, **options: Any
    ) -> None:
        self.guard = guard or Guard()
        self._certificates = certificates
        self._options = options
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """Give all connections back; what is under way fails."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def _over_one(self, send: Callable[[aiohttp.ClientSession, SimpleNamespace], Awaitable[T]]) -> T:
        """What `send` gives, which makes one request in a session, with the context that it is given.

        Where a kept connection breaks, most likely the other side closed it meanwhile and the request did not get there. But it
        may be what the other side ends connections for: so it goes to a new one, and not to every kept one in turn.
        """
        context = SimpleNamespace(reused=False)
        try:
            return await send(self._session(kept=True), context)
        except _CLOSED_MEANWHILE:
            if not context.reused:
                raise
        return await send(self._session(kept=False), context)

    def _session(self, *, kept: bool) -> aiohttp.ClientSession:
        """kept: over connections that are kept for later requests, otherwise each over one of its own."""
        if kept not in self._sessions:
            trace = aiohttp.TraceConfig()
            trace.on_connection_reuseconn.append(_note_reuse)
            connector = aiohttp.TCPConnector(
                limit=0,  # whoever sends bounds how many are under way
                keepalive_timeout=IDLE_SECONDS if kept else None,
                force_close=not kept,
                ssl=self._certificates or True,
                socket_factory=lambda info: self.guard.open_socket(info),
            )
            # aiohttp offers no other way to have a protocol of one's own
            connector._factory = partial(OneAnswer, loop=asyncio.get_running_loop())  # type: ignore[assignment] # a kind of it
            self._sessions[kept] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # unpacked by whoever reads, piece by piece and bounded
                trace_configs=[trace],
                **self._options,
            )
        return self._sessions[kept]


async def _note_reuse(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
    context.trace_request_ctx.reused = True


def in_pieces(body: bytes) -> bytes | io.BytesIO:
    """A request's body as aiohttp is to write it."""
    return io.BytesIO(body) if len(body) >= LARGE_BODY_BYTES else body


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
