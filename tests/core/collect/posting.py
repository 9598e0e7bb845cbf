"""One POST over either transport to the outside world, for the tests of the HTTP client."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx

from flywheel_core.collect.http import Endpoint, Http, HttpxHttp, Reply
from flywheel_core.collect.pool import PooledHttp
from tests.core.collect import outside
from tests.core.collect.outside import Outside

LIMIT = 100_000


@asynccontextmanager
async def opened(kind: str) -> AsyncIterator[Http]:
    if kind == "pooled":
        pooled = PooledHttp()
        yield pooled
        await pooled.close()
    else:
        async with httpx.AsyncClient(trust_env=False) as client:
            yield HttpxHttp(client)


def run(
    kind: str,
    reply: outside.Reply | outside.Handler,
    act: Callable[[Http, Endpoint, Outside], Awaitable[None]],
) -> None:
    async def main() -> None:
        async with Outside() as world, opened(kind) as http:
            world.handlers["/x"] = reply if callable(reply) else lambda _: reply
            await act(http, Endpoint(f"{world.url}/x", {"accept": "application/json"}, 5.0), world)

    asyncio.run(main())


async def post(http: Http, endpoint: Endpoint, body: bytes = b"{}", timeout: float = 5.0) -> Reply:  # noqa: ASYNC109 - passed on
    return await http.post(endpoint, body, timeout=timeout, max_bytes=LIMIT)
