"""HTTP to the models: responses are read as they arrive, without decompression or redirects.

Leaving the block of `Upstream.open` early, even by cancellation, closes the connection, and so stops the
model.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import aiohttp
from yarl import URL

from flywheel_core.collect.addresses import Guard, refused
from flywheel_core.collect.connections import (
    Connections,
    forget_frames,
    in_pieces,
    refused_by_proxy,
    what_broke,
)
from flywheel_core.errors import UpstreamError
from flywheel_gateway.headers import RawHeaders, value_of

HELD_BYTES = 131_072
"""Bytes held for a client that reads slowly, beyond which reading from the model pauses."""

KEPT_BACK = frozenset((401, 402, 403, 407))
"""Statuses that concern the gateway's own key and account, at the model or its proxy.

They would mislead a client, and may quote the key.
"""

TIME_OUTS = frozenset(("timeout", "connect_timeout"))
"""Codes of errors that say how long the gateway waited."""
_TOLD = TIME_OUTS | {"http_status", "redirect"}
"""Codes whose details a client may read: seconds or a status. Others may name internal addresses."""

_STATUSES = range(200, 600)
"""Valid statuses of a response; any other could not be passed to the client."""
_ADDED_BY_LIBRARY = ("User-Agent", "Accept", "Content-Type")


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a model.

    url: already percent-encoded; connect_timeout, timeout: in seconds; streamed: `timeout` limits the wait
    for each piece of the response instead of the whole; proxy: address of the HTTP proxy on the way, or None.
    """

    method: str
    url: str
    headers: RawHeaders
    body: bytes
    connect_timeout: float
    timeout: float
    streamed: bool
    proxy: str | None = field(default=None, repr=False)


class Reply:
    """A response that has begun. headers: as received, with lower-case names."""

    def __init__(self, response: aiohttp.ClientResponse, call: Call, ends: float) -> None:
        self._content = response.content
        self._call = call
        self._ends = ends
        self.status = response.status
        self.headers: RawHeaders = [(name.lower(), value) for name, value in response.raw_headers]

    def header(self, name: bytes) -> str | None:
        """Return the first value of a header, or None."""
        return value_of(self.headers, name)

    async def read(self) -> bytes:
        """Return the next piece of the body, empty at its end.

        Raises UpstreamError `timeout` or `connection_lost`.
        """
        if self._content.at_eof():
            return b""
        if self._call.streamed:
            self._ends = asyncio.get_running_loop().time() + self._call.timeout
        try:
            async with asyncio.timeout_at(self._ends):
                return await self._content.readany()
        except TimeoutError:
            raise _too_slow(self._call) from None
        except aiohttp.ClientError as error:
            raise _lost(error) from None


class Upstream(Connections):
    """The connections to all models."""

    def __init__(self, guard: Guard | None = None) -> None:
        super().__init__(guard, read_bufsize=HELD_BYTES // 2)

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[Reply]:
        """Send a request and yield the response once its headers have arrived.

        Raises UpstreamError `address_blocked`, `connect_failed`, `connect_timeout`, `timeout` or
        `connection_lost`.
        """
        ends = asyncio.get_running_loop().time() + call.timeout
        try:
            async with asyncio.timeout_at(ends):
                response = await self._over_one(partial(_send, call))
        except aiohttp.ConnectionTimeoutError:
            reason = f"no connection within {call.connect_timeout:g} s"
            raise UpstreamError(reason, code="connect_timeout") from None
        except TimeoutError:
            raise _too_slow(call) from None
        except aiohttp.ClientHttpProxyError as error:
            raise UpstreamError(f"no connection: {refused_by_proxy(error)}", code="connect_failed") from None
        except aiohttp.ClientConnectorError as error:
            if (blocked := refused(error)) is not None:
                raise blocked from None
            forget_frames(error)
            raise UpstreamError(f"no connection: {error.strerror or error}", code="connect_failed") from None
        except aiohttp.ClientError as error:
            raise _lost(error) from None
        try:
            if response.status not in _STATUSES:
                raise UpstreamError(f"status {response.status} is none of HTTP", code="connection_lost")
            yield Reply(response, call, ends)
        finally:
            if response.content.at_eof():
                response.release()
            else:
                response.close()


def told_to_client(reason: str) -> str:
    """Return the part of `code: details` that a client may read."""
    code, _, details = reason.partition(": ")
    return f"{code} ({details})" if code in _TOLD else code


async def _send(
    call: Call, session: aiohttp.ClientSession, context: SimpleNamespace
) -> aiohttp.ClientResponse:
    # aiohttp encodes header text as UTF-8, so bytes that are not UTF-8 cannot be passed on unchanged.
    headers = [(name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in call.headers]
    return await session.request(
        call.method,
        URL(call.url, encoded=True),
        data=in_pieces(call.body) or None,
        headers=headers,
        skip_auto_headers=_ADDED_BY_LIBRARY,
        allow_redirects=False,
        proxy=call.proxy,
        timeout=aiohttp.ClientTimeout(total=None, connect=call.connect_timeout),
        trace_request_ctx=context,
    )


def _lost(error: aiohttp.ClientError) -> UpstreamError:
    return UpstreamError(f"the connection broke: {what_broke(error)}", code="connection_lost")


def _too_slow(call: Call) -> UpstreamError:
    waited = "nothing came for" if call.streamed else "no whole answer within"
    return UpstreamError(f"{waited} {call.timeout:g} s", code="timeout")
