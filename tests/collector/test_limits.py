"""Limits: slow, silent, greedy and malformed clients are cut off, and other clients notice nothing."""

import contextlib
import gzip
import json
import resource
import socket
import time
import zlib

import psutil
import pytest

from .conftest import Process, Start, body_of, point

HEAD = b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def hasty(launch: Start) -> Process:
    """A collector with deadlines of one second."""
    return launch(header_timeout=1.0, body_timeout=1.0, idle_timeout=1.0)


def read_all(connection: socket.socket) -> bytes:
    """Return everything received until the server closes the connection; the socket's time-out fails the test."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            received += piece
    return received


def request(content: bytes, extra: bytes = b"") -> bytes:
    return HEAD + extra + b"Content-Length: %d\r\n\r\n" % len(content) + content


@pytest.mark.parametrize(
    ("deadline", "sent"),
    [
        ("header", b""),
        ("header", b"POST /coll"),
        ("header", b"\r\n" * 50),
        ("header", HEAD),
        ("body", HEAD + b"Content-Length: 100\r\n\r\n{"),
        ("body", HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{    \r\n"),
    ],
)
def test_a_stalled_connection_is_closed(hasty: Process, deadline: str, sent: bytes) -> None:
    name = f'flywheel_collector_deadlines_total{{deadline="{deadline}"}}'
    before = hasty.metric(name)
    with hasty.connect() as connection:
        connection.sendall(sent)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408") if deadline == "body" else answer == b""
    assert hasty.metric(name) == before + 1


@pytest.mark.parametrize("framing", [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_a_request_that_is_refused_before_its_end_counts_once(hasty: Process, framing: bytes) -> None:
    names = [
        f'flywheel_collector_requests_total{{code="{code}"}}' for code in ("body_timeout", "client_gone")
    ]
    before = [hasty.metric(name) for name in names]
    with hasty.connect() as connection:
        connection.sendall(HEAD + framing)
        assert read_all(connection).startswith(b"HTTP/1.1 408")
    assert [hasty.metric(name) for name in names] == [before[0] + 1, before[1]]


def test_slowly_dripping_headers_do_not_extend_the_deadline(hasty: Process) -> None:
    with hasty.connect() as connection:
        connection.settimeout(0.1)
        connection.sendall(HEAD)
        for _ in range(300):
            try:
                connection.sendall(b"a")
                if not connection.recv(1):
                    return
            except TimeoutError:
                continue
            except OSError:
                return
    raise AssertionError("the connection was never closed")


def test_a_connection_is_closed_when_it_stays_idle_after_an_answer(hasty: Process) -> None:
    with hasty.connect() as connection:
        connection.sendall(request(body_of(point(1))))
        assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_a_client_that_does_not_read_its_answers_is_cut_off(hasty: Process) -> None:
    name = 'flywheel_collector_deadlines_total{deadline="write"}'
    with contextlib.ExitStack() as held:
        for _ in range(10):  # together more than the kernel buffers for the server
            connection = held.enter_context(hasty.connect())
            connection.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\n\r\n" * 16)
        for _ in range(300):
            if hasty.metric(name):
                break
            time.sleep(0.05)
        assert hasty.metric(name) >= 1


def test_many_requests_share_one_connection(collector: Process) -> None:
    with collector.connect() as connection:
        connection.sendall(
            request(body_of(point(1))) * 3 + b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n"
        )
        answer = read_all(connection)
    assert answer.count(b"HTTP/1.1 200") == 4


def test_connections_beyond_the_bound_are_refused(launch: Start) -> None:
    small = launch(max_connections=3)
    with small.connect() as one, small.connect() as two, small.connect() as three:
        for connection in (one, two, three):
            connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        with small.connect() as four:
            answer = read_all(four)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1" in answer
    assert b"connections_full" in answer


def test_bytes_that_are_not_http_are_refused(collector: Process) -> None:
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"NONSENSE\r\n\r\n",
        HEAD + b"Content-Length: x\r\n\r\n",
    ):
        with collector.connect() as connection:
            connection.sendall(sent)
            answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 400")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "request_malformed"


def test_two_lengths_are_refused(collector: Process) -> None:
    for extra in (
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    ):
        with collector.connect() as connection:
            connection.sendall(HEAD + extra + b"\r\n0\r\n\r\n")
            assert read_all(connection).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("flood", [b"X-A: " + b"a" * 300_000, b"X-A: b\r\n" * 60_000])
def test_endless_headers_are_refused(collector: Process, flood: bytes) -> None:
    with collector.connect() as connection:
        with contextlib.suppress(OSError):  # refused before all of it was sent
            connection.sendall(HEAD + flood)
        answer = read_all(connection)
    assert answer == b"" or b"headers_too_large" in answer
    assert collector.metric('flywheel_collector_requests_total{code="headers_too_large"}') >= 1


@pytest.mark.parametrize(
    "large", [b"/health HTTP/1.1\r\nX-A: " + b"a" * 66_000, b"/" + b"a" * 66_000 + b" HTTP/1.1"]
)
def test_a_whole_head_that_is_too_large_is_refused_however_it_arrives(
    collector: Process, large: bytes
) -> None:
    with collector.connect() as connection:
        connection.sendall(b"GET " + large + b"\r\nHost: 127.0.0.1\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 431")


def test_a_large_body_does_not_count_as_part_of_the_head(collector: Process) -> None:
    content = body_of(point(1)) + b" " * 100_000
    with collector.connect() as connection:
        connection.sendall(
            HEAD + b"X-A: %b\r\nContent-Length: %d\r\n\r\n" % (b"a" * 60_000, len(content)) + content
        )
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


def test_a_body_without_length_is_refused_once_it_is_too_large(launch: Start) -> None:
    small = launch(max_body_bytes=100_000)
    chunk = b"%x\r\n" % 50_000 + b" " * 50_000 + b"\r\n"
    with small.connect() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3)
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"the body has more than 100000 bytes, the most that is taken" in answer


def test_a_declared_size_that_is_too_large_is_refused_before_the_body(collector: Process) -> None:
    with collector.connect() as connection:
        connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 900000000\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413")


def test_expect_100_continue_is_answered(collector: Process) -> None:
    content = body_of(point(1))
    with collector.connect() as connection:
        connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(content))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 100")
        connection.sendall(content)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


def test_a_gzip_bomb_is_refused_while_it_is_unpacked(collector: Process) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b" " * 2**20) for _ in range(1_024)) + packer.flush()
    assert len(bomb) < 8 * 2**20
    process = psutil.Process(collector.process.pid)
    before = process.memory_info().rss
    for _ in range(3):
        answer = collector.collect(content=bomb, headers={"content-encoding": "gzip"})
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert (
        answer.json()["message"] == "the unpacked body has more than 33554432 bytes, the most that is taken"
    )
    assert process.memory_info().rss - before < 64 * 2**20


@pytest.mark.parametrize("cut", [1, 12, 30])
def test_gzip_that_ends_early_is_refused(collector: Process, cut: int) -> None:
    packed = gzip.compress(body_of(point(1)))
    answer = collector.collect(content=packed[:-cut], headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (400, "encoding_invalid")


def test_a_full_queue_answers_503_and_recovers(launch: Start) -> None:
    small = launch(max_queue_bytes=1_048_576)
    content = body_of(*(point(number, question="q" * 60_000) for number in range(4)))
    with small.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 1040000\r\n\r\n" + b" " * 1_030_000)
        for _ in range(300):
            if small.metric("flywheel_collector_queue_bytes") >= 900_000:
                break
        answer = small.collect(content=content)
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (
            503,
            "queue_full",
            "1",
        )
    for _ in range(300):
        if small.metric("flywheel_collector_queue_bytes") == 0:
            break
        time.sleep(0.02)
    assert small.collect(content=content).status_code == 200


def test_below_the_disk_floor_uploads_get_503_and_the_collector_is_not_ready(launch: Start) -> None:
    full = launch(storage={"disk_floor_bytes": 2**60})
    answer = full.collect(point(1))
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (
        503,
        "disk_full",
        "30",
    )
    ready = full.client.get("/ready")
    assert (ready.status_code, ready.json()["code"]) == (503, "disk_full")
    assert full.client.get("/health").text == "OK"
    assert full.raw() == []


@pytest.mark.parametrize("line", [b"HTTP/1.1\r\nConnection: close\r\n", b"HTTP/1.0\r\n"])
def test_a_refusal_reaches_a_client_that_sends_all_first_and_keeps_no_connection(
    launch: Start, line: bytes
) -> None:
    full = launch(storage={"disk_floor_bytes": 2**60})
    with full.connect() as connection:
        connection.sendall(b"POST /collect " + line + b"Content-Length: 4000000\r\n\r\n" + b" " * 4_000_000)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 30\r\n" in answer
    assert b"connection: close\r\n" in answer


def test_a_refused_client_that_stops_sending_is_disconnected(hasty: Process) -> None:
    name = 'flywheel_collector_deadlines_total{deadline="body"}'
    before = hasty.metric(name)
    with hasty.connect() as connection:
        connection.sendall(b"POST /nothing HTTP/1.0\r\nContent-Length: 100\r\n\r\n{")
        assert read_all(connection).startswith(b"HTTP/1.1 404")
    assert hasty.metric(name) == before + 1


def test_slow_clients_do_not_keep_a_good_one_from_being_served(launch: Start) -> None:
    busy = launch()
    slow = [busy.connect() for _ in range(200)]
    try:
        for connection in slow:
            connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        assert all(busy.collect(point(number)).status_code == 200 for number in range(50))
    finally:
        for connection in slow:
            connection.close()


def test_a_client_that_disconnects_mid_request_stores_nothing(launch: Start) -> None:
    one = launch()
    content = body_of(point(1))
    with one.connect() as connection:
        connection.sendall(request(content)[:-5])
    for _ in range(300):
        if one.metric('flywheel_collector_requests_total{code="client_gone"}') == 1:
            break
    assert one.collect(point(2)).status_code == 200
    assert [line["id"] for line in one.raw()] == ["p-2"]


def test_idle_connections_leave_room_for_files_whatever_the_soft_limit(launch: Start) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        collector = launch()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    collector.client.get("/health")
    with contextlib.ExitStack() as idle:
        for _ in range(300):
            idle.enter_context(collector.connect())
        assert collector.collect(point(1)).status_code == 200
    assert len(collector.raw()) == 1


def test_a_limit_of_open_files_that_cannot_be_raised_is_logged(launch: Start) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    said = "open_files_limited" in launch(max_connections=100_000).log.read_text()
    assert said is (resource.RLIM_INFINITY != hard < 201_024)
