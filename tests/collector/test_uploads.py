"""Plain uploads: the protocol answers them itself, exactly as the application answers all others."""

import re
import socket

import pytest

from collector_api.uploads import MAX_PLAIN_BYTES

from .conftest import Process, Start, body_of, point
from .test_limits import HEAD, request

REFUSED = point(3, scores={"qwen-max": 2.0})
BODIES = {
    "accepted": body_of(point(1), point(2)),
    "some refused": body_of(point(1), REFUSED),
    "all refused": body_of(REFUSED),
    "no points": body_of(),
    "too many points": body_of(*map(point, range(1_001))),
    "not JSON": b"{",
}


def chunked(content: bytes) -> bytes:
    """A chunked request, which is not a plain upload and so goes through the application."""
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)


def answer_on(connection: socket.socket) -> bytes:
    """Read one complete answer."""
    answer = b""
    while (found := re.match(rb"(?s).*?content-length: (\d+)\r\n(?:.*?\r\n)?\r\n", answer)) is None or len(
        answer
    ) < found.end() + int(found[1]):
        piece = connection.recv(65_536)
        assert piece, answer
        answer += piece
    return answer


@pytest.mark.parametrize("content", BODIES.values(), ids=BODIES.keys())
def test_a_plain_upload_is_answered_counted_and_stored_like_any_other(launch: Start, content: bytes) -> None:
    answers, counts, kept = [], [], []
    for written in (request(content), chunked(content)):
        one = launch()
        with one.connect() as connection:
            connection.sendall(written)
            answers.append(answer_on(connection))
            connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            metrics = answer_on(connection).decode()
        counts.append(
            re.findall(r"(?m)^flywheel_collector_(?:requests|points|rejected|received).*_total.*", metrics)
        )
        kept.append([[line.get("id"), line.get("code")] for line in one.raw() + one.rejected()])
    assert answers[0] == answers[1]
    assert counts[0] == counts[1]
    assert kept[0] == kept[1]


def test_an_upload_that_cannot_be_stored_is_refused_either_way(launch: Start) -> None:
    one = launch()
    raw = one.data / "raw"
    raw.rename(one.data / "away")
    raw.write_text("in the way")
    answers = []
    for written in (request(BODIES["accepted"]), chunked(BODIES["accepted"])):
        with one.connect() as connection:
            connection.sendall(written)
            answers.append(answer_on(connection))
    assert answers[0] == answers[1]
    assert answers[0].startswith(b"HTTP/1.1 503")
    assert b"retry-after: 2\r\n" in answers[0]
    assert one.metric('flywheel_collector_requests_total{code="storage_unavailable"}') == 2


def test_pipelined_uploads_are_answered_in_order(collector: Process) -> None:
    sizes = (1, 3, 2, 4)
    with collector.connect() as connection:
        connection.sendall(
            b"".join(
                (request, chunked)[size % 2](body_of(*(point(number) for number in range(size))))
                for size in sizes
            )
        )
        counts: list[int] = []
        rest = b""
        while len(counts) < len(sizes):
            rest += connection.recv(65_536)
            counts = [int(count) for count in re.findall(rb'"count":(\d+)', rest)]
    assert counts == list(sizes)


def test_a_plain_upload_may_come_byte_by_byte(collector: Process) -> None:
    content = body_of(point(77))
    with collector.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(content):
            connection.sendall(bytes([byte]))
        assert answer_on(connection).startswith(b"HTTP/1.1 200")
    assert "p-77" in [line["id"] for line in collector.raw()]


def test_answers_that_nobody_reads_do_not_pile_up(launch: Start) -> None:
    one = launch()
    upload = request(b'{"data_points":[' + b",".join([b"null"] * 1_000) + b"]}")
    name = 'flywheel_collector_requests_total{code="nothing_acceptable"}'
    answered = 0
    with one.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        for sent in range(1, 401):
            connection.sendall(upload)
            looks = 0
            while (answered := int(one.metric(name))) < sent and looks < 20:
                looks += 1
            if answered < sent:
                break
    assert 0 < answered < 400  # an answer has 80 KB; the kernel buffers a few megabytes


@pytest.mark.parametrize("beyond", [0, 1])
def test_uploads_around_the_bound_are_stored(launch: Start, beyond: int) -> None:
    one = launch()
    content = body_of(point(1))
    content += b" " * (MAX_PLAIN_BYTES + beyond - len(content))
    assert one.collect(content=content).status_code == 200
    assert [line["id"] for line in one.raw()] == ["p-1"]


def test_a_length_with_thousands_of_leading_zeros_is_accepted(collector: Process) -> None:
    content = body_of(point(78))
    with collector.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: %s%d\r\n\r\n" % (b"0" * 5_000, len(content)) + content)
        assert answer_on(connection).startswith(b"HTTP/1.1 200")


def test_an_upload_refused_for_its_headers_is_refused_before_its_body(collector: Process) -> None:
    with collector.connect() as connection:
        connection.sendall(HEAD.replace(b"application/json", b"text/plain") + b"Content-Length: 100\r\n\r\n{")
        assert answer_on(connection).startswith(b"HTTP/1.1 415")
