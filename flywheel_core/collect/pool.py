"""The default HTTP client: connections that are kept and used again, one request on each at a time.

Chosen by measuring (`python -m benchmarks.fanout`): it takes a fraction of httpx's processor time a call and does not
slow down with the calls under way; and when a call is cancelled or times out its connection ends at that moment,
so that a model does not go on answering for nobody. Proxies of the environment are not used.
"""

import asyncio
import ssl
from collections import deque

import httpx

from flywheel_core.collect.connection import Connection
from flywheel_core.collect.http import Endpoint, Reply

IDLE_SECONDS = 30.0
"""How long a connection without a request is kept."""

_Key = tuple[str, int, bool]


class PooledHttp:
    """Sends POSTs over as many connections as there are calls under way.

    certificates: what to trust for https; None for the system's authorities.
    """

    def __init__(self, certificates: ssl.SSLContext | None = None) -> None:
        self._certificates = certificates
        self._idle: dict[_Key, deque[Connection]] = {}

    async def post(
        self,
        endpoint: Endpoint,
        body: bytes,
        *,
        timeout: float,  # noqa: ASYNC109 - the deadline of the call, which also ends its connection
        max_bytes: int,
    ) -> Reply:
        """See `Http.post`."""
        message = b"%b\r\ncontent-length: %d\r\n\r\n%b" % (endpoint.head, len(body), body)
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout
        while True:
            connection = self._reusable(endpoint) or await self._connect(endpoint, ends)
            deadline = loop.call_at(ends, connection.expire)
            try:
                reply = await connection.request(message, max_bytes)
            except httpx.ReadError:
                # a kept connection that the other side closed meanwhile: the request did not get there
                if connection.requests == 1 or connection.answered:
                    raise
            except asyncio.CancelledError:
                connection.close()
                raise
            else:
                if connection.usable:
                    self._keep(endpoint, connection)
                return reply
            finally:
                deadline.cancel()

    async def close(self) -> None:
        """Give all connections back."""
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()
        await asyncio.sleep(0)  # lets the loop tell the connections that they are closed

    def _reusable(self, endpoint: Endpoint) -> Connection | None:
        idle = self._idle.get((endpoint.host, endpoint.port, endpoint.secure))
        while idle:
            connection = idle.pop()
            if connection.usable:
                return connection
        return None

    def _keep(self, endpoint: Endpoint, connection: Connection) -> None:
        idle = self._idle.setdefault((endpoint.host, endpoint.port, endpoint.secure), deque())
        idle.append(connection)
        oldest = connection.last_used - IDLE_SECONDS
        while idle[0].last_used < oldest or not idle[0].usable:
            idle.popleft().close()

    async def _connect(self, endpoint: Endpoint, ends: float) -> Connection:
        loop = asyncio.get_running_loop()
        context = None
        if endpoint.secure:
            if self._certificates is None:
                self._certificates = ssl.create_default_context()
            context = self._certificates
        limit = min(endpoint.connect_timeout, ends - loop.time())
        try:
            async with asyncio.timeout(limit):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop), endpoint.host, endpoint.port, ssl=context
                )
        except TimeoutError:
            raise httpx.ConnectTimeout(f"no connection within {limit:.3g} s") from None
        except OSError as error:
            raise httpx.ConnectError(f"no connection: {error.strerror or error}") from None
        return connection
