"""One POST over real sockets, with both clients and every way in which a reply can go wrong."""

import asyncio
import contextlib
import gc
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from flywheel_core.collect.http import Endpoint, Http
from flywheel_core.collect.pool import PooledHttp
from flywheel_core.errors import UpstreamError, UsageError
from flywheel_gateway.upstream import Call, Upstream
from tests.core.collect import outside
from tests.core.collect.outside import Outside, until
from tests.core.collect.posting import post, run


def test_a_post_arrives_whole_and_its_reply_comes_back(kind: str) -> None:
    """Body and headers arrive; status, headers and body return."""

    async def act(http: Http, endpoint: Endpoint, world: Outside) -> None:
        reply = await post(http, endpoint, b'{"a": "\xe4\xbd\xa0"}')
        assert (reply.status, reply.body) == (201, b"[1]")
        assert reply.headers["x-more"] == "yes"
        assert world.requests[0].body == b'{"a": "\xe4\xbd\xa0"}'
        assert world.requests[0].headers["accept"] == "application/json"
        assert world.requests[0].headers["content-type"] == "application/json"

    run(kind, outside.Reply(201, b"[1]", {"x-more": "yes"}), act)


def test_connections_are_used_again(kind: str) -> None:
    """Calls one after another share one connection."""

    async def act(http: Http, endpoint: Endpoint, world: Outside) -> None:
        for _ in range(5):
            await post(http, endpoint)
        assert world.connections == 1

    run(kind, outside.Reply(), act)


def test_a_kept_connection_that_the_server_closed_costs_no_call(kind: str) -> None:
    """The server closes the connection after each reply, yet every call succeeds, on a new connection."""

    async def act(http: Http, endpoint: Endpoint, world: Outside) -> None:
        for _ in range(3):
            assert (await post(http, endpoint)).status == 200
            await asyncio.sleep(0.02)
        assert world.connections == 3

    run(kind, outside.Reply(close=True), act)


def test_redirects_are_not_followed(kind: str) -> None:
    """The reply is returned as it is, and the new address is not asked."""

    async def act(http: Http, endpoint: Endpoint, world: Outside) -> None:
        assert (await post(http, endpoint)).status == 307
        assert len(world.requests) == 1

    run(kind, outside.Reply(307, b"", {"location": "/x"}), act)


def test_a_time_out_ends_the_call_and_its_connection(kind: str) -> None:
    """A server that never answers is abandoned at the deadline."""

    async def act(http: Http, endpoint: Endpoint, world: Outside) -> None:
        with pytest.raises(httpx.ReadTimeout):
            await post(http, endpoint, timeout=0.2)
        await asyncio.wait_for(world.left.wait(), 10)

    run(kind, outside.Reply(hang=True), act)


def test_cancelling_ends_the_call_and_its_connection(kind: str) -> None:
    """A cancelled call does not leave the server answering for nobody."""

    async def act(http: Http, endpoint: Endpoint, world: Outside) -> None:
        task = asyncio.create_task(post(http, endpoint, timeout=600))
        await until(lambda: world.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(world.left.wait(), 10)

    run(kind, outside.Reply(hang=True), act)


def test_no_connection_is_a_connect_error(kind: str) -> None:
    """When nobody listens, httpx.ConnectError is raised."""

    async def act(http: Http, _: Endpoint, world: Outside) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            with pytest.raises(httpx.ConnectError):
                await post(http, Endpoint(f"http://127.0.0.1:{free.getsockname()[1]}/"))

    run(kind, outside.Reply(), act)


def test_a_body_that_could_not_be_sent_is_released_at_once() -> None:
    """Both users of aiohttp release the body without the help of the garbage collector.

    Bodies may be large, and the collector counts objects without regard to their size.
    """

    async def act() -> None:
        body = b"x" * 2_000_000
        pooled, upstream = PooledHttp(), Upstream()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}/"
            before = sys.getrefcount(body)
            with contextlib.suppress(httpx.ConnectError):
                await post(pooled, Endpoint(url), body)
            assert sys.getrefcount(body) == before
            with contextlib.suppress(UpstreamError):
                async with upstream.open(Call("POST", url, [], body, 1.0, 5.0, False)):
                    pass
            assert sys.getrefcount(body) == before
        await pooled.close()
        await upstream.close()

    gc.disable()
    try:
        asyncio.run(act())
    finally:
        gc.enable()


def test_a_connection_that_is_not_made_in_time_is_a_connect_timeout(kind: str) -> None:
    """A server that accepts but never shakes hands gives httpx.ConnectTimeout after connect_timeout."""

    async def act(http: Http, _: Endpoint, world: Outside) -> None:
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            endpoint = Endpoint(f"https://127.0.0.1:{deaf.getsockname()[1]}/", {}, 0.2)
            with pytest.raises(httpx.ConnectTimeout):
                await post(http, endpoint, timeout=60)

    run(kind, outside.Reply(), act)


class WithoutNames(asyncio.SelectorEventLoop):
    """An event loop whose name server does not answer."""

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        await asyncio.sleep(600)


def test_a_name_that_is_not_resolved_in_time_is_a_connect_timeout() -> None:
    """Names belong to connecting: a name server that is down must not use up the time of the whole call."""

    async def act() -> None:
        pooled, upstream, url = PooledHttp(), Upstream(), "http://models.example/v1"
        with pytest.raises(httpx.ConnectTimeout):
            await post(pooled, Endpoint(url, {}, 0.1), timeout=60)
        with pytest.raises(UpstreamError) as failed:
            async with upstream.open(Call("POST", url, [], b"{}", 0.1, 60.0, False)):
                pass
        assert failed.value.code == "connect_timeout"
        await pooled.close()
        await upstream.close()

    with asyncio.Runner(loop_factory=WithoutNames) as runner:
        runner.run(act())


def test_interim_replies_are_passed_over() -> None:
    """100 Continue is not the final reply."""

    async def act(http: Http, endpoint: Endpoint, world: Outside) -> None:
        assert (await post(http, endpoint)).body == b"{}"

    raw = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    run("pooled", outside.Reply(raw=raw), act)


def test_endless_headers_are_refused() -> None:
    """A server cannot fill memory with headers."""

    async def act(http: Http, endpoint: Endpoint, world: Outside) -> None:
        with pytest.raises(httpx.RemoteProtocolError):
            await post(http, endpoint)

    raw = b"HTTP/1.1 200 OK\r\n" + b"x-a: " + b"b" * 8_000 + b"\r\n"
    run("pooled", outside.Reply(raw=raw + b"x-c: d\r\n" * 10_000), act)


@pytest.mark.parametrize(
    "url", ["ftp://host/", "http:///path", "http://host:99999/", "not an address", "http://[::1"]
)
def test_addresses_that_cannot_be_asked_are_refused(url: str) -> None:
    """A wrong address is found when the Endpoint is created."""
    with pytest.raises(UsageError):
        Endpoint(url)


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "键"])
def test_headers_that_cannot_be_sent_are_refused(value: str) -> None:
    """No header value can smuggle in another header."""
    with pytest.raises(UsageError):
        Endpoint("http://127.0.0.1/", {"x-a": value})


def test_tls_with_a_private_certificate_authority(tmp_path: Path) -> None:
    """https works with an authority that is trusted, and fails with one that is not."""
    server, client = outside.certified(tmp_path, "IP:127.0.0.1")

    async def main() -> None:
        async with Outside(server) as world:
            world.handlers["/x"] = lambda _: outside.Reply(body=b"[2]")
            trusting = PooledHttp(client)
            for _ in range(2):
                assert (await post(trusting, Endpoint(f"{world.url}/x"))).body == b"[2]"
            assert world.connections == 1
            doubting = PooledHttp()
            with pytest.raises(httpx.ConnectError, match="certificate"):
                await post(doubting, Endpoint(f"{world.url}/x"))
            await trusting.close()
            await doubting.close()

    asyncio.run(main())
