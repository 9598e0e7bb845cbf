"""The default HTTP client: aiohttp with bounded bodies and httpx's errors.

Chosen by measurement (`python -m benchmarks.fanout`): httpx's own transport slows down with every call in
progress, and with pyreqwest a cancelled call goes on, so that a model answers for nobody. The environment's
proxies are used only where the configuration names their variables.
"""

import asyncio
import ssl
import zlib
from functools import partial
from types import SimpleNamespace

import aiohttp
import httpx
from yarl import URL

from flywheel_core.collect.addresses import Guard, refused
from flywheel_core.collect.connections import (
    Connections,
    forget_frames,
    in_pieces,
    refused_by_proxy,
    what_broke,
)
from flywheel_core.collect.http import USER_AGENT, Endpoint, Reply, too_large

PIECE_BYTES = 65_536


class PooledHttp(Connections):
    """Sends POSTs. guard, certificates: see `Connections`."""

    def __init__(self, certificates: ssl.SSLContext | None = None, guard: Guard | None = None) -> None:
        headers = {"user-agent": USER_AGENT, "accept-encoding": "gzip", "content-type": "application/json"}
        super().__init__(guard, certificates, headers=headers)

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
                return await self._over_one(partial(_exchange, endpoint, body, max_bytes))
        except aiohttp.ConnectionTimeoutError:
            raise httpx.ConnectTimeout(f"no connection within {endpoint.connect_timeout:.3g} s") from None
        except TimeoutError:
            raise httpx.ReadTimeout(f"no whole answer within {timeout:.3g} s") from None
        except aiohttp.ClientHttpProxyError as error:
            raise httpx.ConnectError(f"no connection: {refused_by_proxy(error)}") from None
        except aiohttp.ClientConnectorError as error:
            if (blocked := refused(error)) is not None:
                raise blocked from None
            forget_frames(error)
            raise httpx.ConnectError(f"no connection: {error.strerror or error}") from None
        except aiohttp.ClientResponseError as error:
            raise httpx.RemoteProtocolError(what_broke(error)) from None
        except aiohttp.ClientError as error:
            raise httpx.ReadError(f"the connection was lost: {what_broke(error)}") from None


async def _exchange(
    endpoint: Endpoint, body: bytes, max_bytes: int, session: aiohttp.ClientSession, context: SimpleNamespace
) -> Reply:
    async with session.post(
        URL(endpoint.url, encoded=True),
        data=in_pieces(body),
        headers=endpoint.headers,
        allow_redirects=False,
        proxy=endpoint.proxy,
        timeout=aiohttp.ClientTimeout(total=None, connect=endpoint.connect_timeout),
        trace_request_ctx=context,
    ) as response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, headers, await _body(response, max_bytes))


async def _body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Return the whole body, decompressed.

    Raises UpstreamError `body_too_large` beyond `max_bytes`, httpx.DecodingError for invalid or unknown
    compression.
    """
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
        elif unpack.eof:
            break  # zlib would keep whatever follows, without any bound
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
