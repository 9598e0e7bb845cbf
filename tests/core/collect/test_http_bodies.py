"""Bodies of replies over HTTP: of all kinds, bounded as sent and as unpacked, broken or followed by more."""

import gzip
import tracemalloc
import zlib

import httpx
import pytest

from flywheel_core.collect.http import Endpoint, Http
from flywheel_core.errors import UpstreamError
from tests.core.collect import outside
from tests.core.collect.outside import Outside
from tests.core.collect.posting import LIMIT, post, run


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_of_all_kinds(kind: str, chunked: bool) -> None:
    """Plain, chunked, gzip and deflate bodies, and one that ends with the connection."""

    async def act(http: Http, endpoint: Endpoint, world: Outside) -> None:
        for encoding, packed in (
            (None, b"abc" * 99),
            ("gzip", gzip.compress(b"abc" * 99)),
            ("deflate", zlib.compress(b"abc" * 99)),
        ):
            headers = {"content-type": "text/plain"} | ({"content-encoding": encoding} if encoding else {})
            answer = outside.Reply(200, packed, headers, chunked=chunked)
            world.handlers["/x"] = lambda _, answer=answer: answer  # type: ignore[misc] # bound as a default
            assert (await post(http, endpoint)).body == b"abc" * 99
        raw = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nto the end"
        world.handlers["/x"] = lambda _: outside.Reply(raw=raw)
        assert (await post(http, endpoint)).body == b"to the end"

    run(kind, outside.Reply(), act)


@pytest.mark.parametrize(
    "reply",
    [
        outside.Reply(body=b"a" * (LIMIT + 1)),
        outside.Reply(body=b"a" * (LIMIT + 1), chunked=True),
        outside.Reply(body=gzip.compress(b"a" * 50_000_000), headers={"content-encoding": "gzip"}),
        outside.Reply(
            body=gzip.compress(b"a" * 50_000_000), headers={"content-encoding": "gzip"}, chunked=True
        ),
    ],
    ids=["length", "chunked", "bomb", "chunked bomb"],
)
def test_bodies_are_bounded_even_when_compressed(kind: str, reply: outside.Reply) -> None:
    """A body above max_bytes is refused, and a decompression bomb is not unpacked beyond that."""

    async def act(http: Http, endpoint: Endpoint, world: Outside) -> None:
        with pytest.raises(UpstreamError) as caught:
            await post(http, endpoint)
        assert caught.value.code == "body_too_large"

    run(kind, reply, act)


def test_a_body_of_exactly_the_bound_is_taken(kind: str) -> None:
    """The limit itself is a size that is taken."""

    async def act(http: Http, endpoint: Endpoint, world: Outside) -> None:
        assert len((await post(http, endpoint)).body) == LIMIT

    run(kind, outside.Reply(body=gzip.compress(b"a" * LIMIT), headers={"content-encoding": "gzip"}), act)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", httpx.TransportError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", httpx.TransportError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", httpx.TransportError),
        (b"220 smtp ready\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", httpx.DecodingError),
    ],
    ids=["nothing", "cut", "cut chunk", "not http", "not gzip"],
)
def test_broken_replies_are_errors(kind: str, raw: bytes, error: type[Exception]) -> None:
    """A cut or garbled reply is never taken for a complete one."""

    async def act(http: Http, endpoint: Endpoint, world: Outside) -> None:
        with pytest.raises(error):
            await post(http, endpoint)

    run(kind, outside.Reply(raw=raw), act)


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [("gzip", gzip.compress(b"{}")[:-1], "ends early"), ("zstd", b"{}", "'zstd', which was not asked for")],
    ids=["cut", "not asked for"],
)
def test_a_packed_body_that_cannot_be_unpacked_whole_is_an_error(
    encoding: str, body: bytes, reason: str
) -> None:
    """Its length is right, so nothing else would show that it is not what the server meant."""

    async def act(http: Http, endpoint: Endpoint, world: Outside) -> None:
        with pytest.raises(httpx.DecodingError, match=reason):
            await post(http, endpoint)

    run("pooled", outside.Reply(body=body, headers={"content-encoding": encoding}), act)


def test_what_follows_a_packed_body_is_not_read() -> None:
    """It has no end of its own: zlib would keep all of it, whatever max_bytes says."""
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"{}")
    size = 8_000_000

    async def act(http: Http, endpoint: Endpoint, world: Outside) -> None:
        tracemalloc.start()
        try:
            assert (await post(http, endpoint, timeout=60.0)).body == b"{}"
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < 1.5 * size, "once for what the server has still to send"

    run("pooled", outside.Reply(raw=head + bytes(size)), act)
