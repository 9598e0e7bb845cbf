"""HTTP framing around bodies and between requests: upgrades, trailers, chunk extensions, pipelined requests."""

import contextlib
import socket
import time

import psutil
import pytest

from .conftest import Process, Start, body_of, point

HEAD = b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
"""The headers that Java's built-in HTTP client sends with the first request on every connection."""
MIB = 2**20


def request(content: bytes, extra: bytes = b"") -> bytes:
    return HEAD + extra + b"Content-Length: %d\r\n\r\n" % len(content) + content


def answers(collector: Process, *pieces: bytes) -> bytes:
    """Send each piece in a packet of its own; return everything received until the server closes the connection."""
    received = b""
    with collector.connect() as connection, contextlib.suppress(ConnectionError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.05)
        while got := connection.recv(65_536):
            received += got
    return received


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


@pytest.mark.parametrize("packets", [1, 2])
def test_a_request_that_offers_an_upgrade_is_answered_without_it(launch: Start, packets: int) -> None:
    """Requests that follow on the same connection are answered too."""
    collector = launch()
    first, second = request(body_of(point(1)), UPGRADE), request(body_of(point(2)))
    middle = first.index(b"\r\n\r\n") + 4
    pieces = [first[:middle], first[middle:]] if packets == 2 else [first]
    answer = answers(collector, *pieces, second + LAST)
    assert answer.count(b"HTTP/1.1 200") == 3
    assert [line["id"] for line in collector.raw()] == ["p-1", "p-2"]


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_the_body_of_an_upgrade_is_not_read_as_a_request(launch: Start, framing: str) -> None:
    collector = launch()
    hidden = request(body_of(point(1)))
    head = HEAD + UPGRADE
    if framing == "length":
        pieces = [head + b"Content-Length: %d\r\n\r\n" % len(hidden), hidden]
    else:
        pieces = [head + b"Transfer-Encoding: chunked\r\n\r\n", chunk(hidden) + b"0\r\n\r\n"]
    answer = answers(collector, *pieces, LAST)
    assert answer.count(b"HTTP/1.1 400") == 1
    assert answer.count(b"HTTP/1.1 200") == 1  # the answer to LAST
    assert collector.raw() == []


def test_trailers_are_not_read_as_headers(launch: Start) -> None:
    """A proxy in front that filters headers passes trailers on unchecked."""
    collector = launch()
    body = (
        CHUNKED
        + chunk(body_of(point(1)))
        + b"0\r\nContent-Encoding: gzip\r\nContent-Type: text/plain\r\n\r\n"
    )
    assert answers(collector, body + LAST).count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("refused_before", [False, True])
@pytest.mark.parametrize(
    ("start", "endless"),
    [
        (CHUNKED + chunk(b"{}") + b"0\r\n", b"X-A: bc\r\n"),
        (CHUNKED + chunk(b"{}") + b"0\r\nX-A: ", b"bc"),
        (CHUNKED + b"2;x=", b"bc"),
    ],
    ids=["trailers", "trailer", "extension"],
)
def test_endless_trailers_and_chunk_extensions_are_cut_off(
    launch: Start, start: bytes, endless: bytes, refused_before: bool
) -> None:
    """Also after the request was refused, and then without a second answer."""
    collector = launch()
    if refused_before:
        start = start.replace(b"application/json", b"text/plain")
    process = psutil.Process(collector.process.pid)
    before = process.memory_info().rss
    sent = 0
    received = b""
    with collector.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(start)
            time.sleep(0.1)
            while sent < 64 * MIB:
                connection.sendall(endless * (65_536 // len(endless)))
                sent += 65_536
        with contextlib.suppress(ConnectionError):
            received = connection.recv(65_536)
    assert sent < 64 * MIB
    assert process.memory_info().rss - before < 16 * MIB
    assert (
        received.count(b"HTTP/1.1 415" if refused_before else b"HTTP/1.1 431")
        <= received.count(b"HTTP/1.1 ")
        <= 1
    )


def test_a_body_in_large_pieces_after_its_refusal_gets_no_second_answer(collector: Process) -> None:
    """The client would take it for the answer to its next request on the connection."""
    refused = request(b"x" * 4 * MIB).replace(b"application/json", b"text/plain")
    with collector.connect() as connection:
        for _ in range(5):
            connection.sendall(refused)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 415")
        connection.sendall(LAST)
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_request_with_very_many_headers_is_refused(collector: Process) -> None:
    """Each parsed header takes many times the memory of its text, and every allowed connection may send such a request."""
    lines = [b"X-%d: b\r\n" % number for number in range(257)]
    assert answers(collector, HEAD + b"".join(lines) + b"\r\n").startswith(b"HTTP/1.1 431")
    assert answers(
        collector, b"GET /health HTTP/1.1\r\n" + b"".join(lines[:250]), b"Connection: close\r\n\r\n"
    ).startswith(b"HTTP/1.1 200")


def test_pipelined_requests_take_bounded_memory(launch: Start) -> None:
    collector = launch()
    process = psutil.Process(collector.process.pid)
    few = b"GET /health HTTP/1.1\r\n\r\n" * 16
    assert answers(collector, few + LAST).count(b"HTTP/1.1 200") == 17
    before = process.memory_info().rss
    with contextlib.ExitStack() as held:
        for _ in range(10):
            connection = held.enter_context(collector.connect())
            with contextlib.suppress(ConnectionError):
                connection.sendall(few * 4_000)
        assert collector.client.get("/health").text == "OK"
        assert process.memory_info().rss - before < 16 * MIB


@pytest.mark.parametrize(
    "malformed", [b"garbage\r\n\r\n", CHUNKED + b"zz\r\n"], ids=["another head", "another body"]
)
def test_malformed_bytes_do_not_answer_the_request_before_them(collector: Process, malformed: bytes) -> None:
    """A batch that is being stored is not answered as malformed because of the bytes that follow it."""
    answer = answers(collector, request(body_of(point(1))) + malformed)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 200")
