"""Streamed answers: passed on byte for byte, cancelled when the client leaves, reassembled for collection."""

import json
import socket
import threading
import time
from collections.abc import Callable

import httpx

from tests.gateway.scripted import (
    DONE,
    STREAM_END,
    STREAM_HEAD,
    Arrived,
    Script,
    chunk,
    event,
)
from tests.gateway.world import Outside, RunningGateway, until

Start = Callable[..., RunningGateway]
BODY = {"messages": [{"role": "user", "content": "1 + 1?"}], "stream": True}


def streamed(*pieces: bytes | float, end: bytes = STREAM_END) -> Script:
    """Script a streamed answer: each bytes piece is sent as a chunk of its own, each float is a wait in seconds."""
    yield STREAM_HEAD
    for piece in pieces:
        yield piece if isinstance(piece, float) else chunk(piece)
    yield end


def test_a_stream_is_passed_on_byte_for_byte(outside: Outside, start: Start) -> None:
    odd = [
        b": a comment\n\n",
        b"event: x\r\ndata: {\r\n",
        b"\r\n",
        event("é\u2028"),
        b"id: 7\n",
        event(None, "stop"),
        DONE,
    ]
    outside.chat = lambda _: streamed(*odd)
    gateway = start(outside.config(data_collection__enabled=False))
    answer = gateway.chat(stream=True)
    assert answer.content == b"".join(odd)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-flywheel-model"] == "big"


def test_a_client_of_http_1_0_gets_the_stream_without_chunks(outside: Outside, start: Start) -> None:
    """The stream ends with the connection; an answer with a Content-Length keeps it."""
    events = [event("one"), event("two"), DONE]
    first = outside.chat
    outside.chat = lambda asked: streamed(*events) if asked.json.get("stream") else first(asked)
    gateway = start(outside.config(data_collection__enabled=False))

    def answer(**body: object) -> tuple[bytes, bytes]:
        content = json.dumps({**BODY, **body}).encode()
        head = f"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        host, port = gateway.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(head + content)
            with client.makefile("rb") as received:
                headers, _, text = received.read().partition(b"\r\n\r\n")
        return headers, text

    headers, text = answer()
    assert text == b"".join(events)
    assert b"transfer-encoding" not in headers
    headers, text = answer(stream=False)
    assert b"content-length: %d\r\n" % len(text) in headers
    assert json.loads(text)["choices"][0]["message"]["content"] == "I am big"


def test_each_piece_is_passed_on_before_the_next_one_arrives(outside: Outside, start: Start) -> None:
    """The model sends its next event only after the client has seen the one before."""
    seen = threading.Semaphore(0)

    def by_turns(_: Arrived) -> Script:
        yield STREAM_HEAD
        for word in ("one", "two", "three"):
            yield chunk(event(word))
            assert seen.acquire(timeout=20)
        yield chunk(DONE) + STREAM_END

    outside.chat = by_turns
    gateway = start(outside.config(data_collection__enabled=False))
    words = []
    with httpx.stream("POST", f"{gateway.address}/v1/chat/completions", json=BODY, timeout=20) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                words.append(json.loads(line[6:])["choices"][0]["delta"]["content"])
                seen.release()
    assert words == ["one", "two", "three"]


def test_a_stream_lasts_longer_than_the_time_for_a_whole_answer(outside: Outside, start: Start) -> None:
    outside.chat = lambda _: streamed(*(event("a"), 0.3) * 5, event(None, "stop"), DONE)
    gateway = start(outside.config(models__big__timeout=1.0, data_collection__enabled=False))
    assert gateway.chat(stream=True).content.endswith(DONE)


def test_the_call_to_the_model_ends_when_the_client_leaves(outside: Outside, start: Start) -> None:
    outside.chat = lambda _: streamed(event("first"), 30.0, DONE)
    gateway = start(outside.config())
    with httpx.stream("POST", f"{gateway.address}/v1/chat/completions", json=BODY, timeout=20) as answer:
        next(answer.iter_raw())
    assert outside.server.left.wait(20)
    until(lambda: gateway.metric('flywheel_gateway_collection_skipped_total{reason="client_left"}') == 1)
    assert gateway.metric('flywheel_gateway_requests_total{code="client_gone"}') == 1
    assert len(outside.asked()) == 1


def test_the_call_to_the_model_ends_when_the_client_leaves_before_an_answer(
    outside: Outside, start: Start
) -> None:
    outside.chat = lambda _: [30.0]
    gateway = start(outside.config())
    host, port = gateway.address.removeprefix("http://").split(":")
    body = json.dumps(BODY).encode()
    with socket.create_connection((host, int(port))) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s"
            % (len(body), body)
        )
        until(outside.asked)
    assert outside.server.left.wait(20)
    until(lambda: gateway.metric('flywheel_gateway_requests_total{code="client_gone"}') == 1)
    assert gateway.metric('flywheel_gateway_collection_skipped_total{reason="client_left"}') == 1
    assert gateway.metric('flywheel_gateway_collection_skipped_total{reason="not_answered"}') == 0
    failures = 'flywheel_gateway_model_failures_total{model="big",reason="client_left"}'
    assert gateway.metric(failures) == 0, "it did not wait long enough to say anything about the model"


def test_the_call_to_the_model_ends_when_a_client_that_sent_a_request_ahead_leaves(
    outside: Outside, start: Start
) -> None:
    outside.chat = lambda _: streamed(event("first"), 30.0, DONE)
    gateway = start(outside.config())
    host, port = gateway.address.removeprefix("http://").split(":")
    body = json.dumps(BODY).encode()
    one = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    with socket.create_connection((host, int(port))) as client:
        client.sendall(one + one)
        assert client.recv(1)
    assert outside.server.left.wait(20)
    until(lambda: gateway.metric('flywheel_gateway_requests_total{code="client_gone"}') == 1)
    assert len(outside.asked()) == 1


def test_a_stream_is_reassembled_for_collection(outside: Outside, start: Start) -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30}}\n\n'
    pieces = event("two, ") + event("that is 二") + event(None, "stop") + usage + DONE
    whole = outside.chat
    outside.chat = lambda asked: (
        streamed(*(pieces[at : at + 7] for at in range(0, len(pieces), 7)))
        if asked.json.get("stream")
        else whole(asked)
    )
    gateway = start(outside.config())
    assert gateway.chat(stream=True).content == pieces
    point = until(lambda: outside.points)[0]
    response = point["responses"]["big"]
    assert response["answer"] == "two, that is 二"
    assert response["error"] is None
    assert response["finish_reason"] == "stop"
    assert response["usage"]["total_tokens"] == 30
    assert point["scores"] == {"big": 0.75, "math": 0.75, "code": 0.75}
    assert gateway.metric('flywheel_gateway_spend_total{model="big",purpose="clients"}') > 0


def test_fault_12_a_stream_that_breaks_off_is_cut_for_the_client_and_marked_truncated(
    outside: Outside, start: Start
) -> None:
    """A truncated answer is never scored as if it were complete."""
    whole = outside.chat
    outside.chat = lambda asked: (
        streamed(event("half of an ans"), end=b"") if asked.json.get("stream") else whole(asked)
    )
    cut = outside.chat
    outside.chat = lambda asked: [*cut(asked), b""] if asked.json.get("stream") else whole(asked)
    gateway = start(outside.config())
    got = b""
    broken = False
    try:
        with httpx.stream("POST", f"{gateway.address}/v1/chat/completions", json=BODY, timeout=20) as answer:
            for piece in answer.iter_raw():
                got += piece
    except httpx.RemoteProtocolError:
        broken = True
    assert broken
    assert got == event("half of an ans")
    (logged,) = until(lambda: gateway.logged("answer_cut"))
    assert (logged["model"], logged["decision_id"]) == ("big", answer.headers["x-flywheel-decision"])
    assert '"level": "ERROR"' not in gateway.log(), "the model's fault is no error of the gateway"
    point = until(lambda: outside.points)[0]
    assert point["responses"]["big"]["error"].startswith("truncated")
    assert point["scores"]["big"] is None
    assert point["scores"]["math"] == 0.75


def test_a_client_that_reads_slowly_slows_the_model_and_does_not_fill_the_gateways_memory(
    outside: Outside, start: Start
) -> None:
    piece = event("x" * 60_000)
    sent = []

    def endless(_: Arrived) -> Script:
        yield STREAM_HEAD
        while True:
            sent.append(1)
            yield chunk(piece)

    outside.chat = endless
    gateway = start(outside.config(data_collection__enabled=False))
    with httpx.stream("POST", f"{gateway.address}/v1/chat/completions", json=BODY, timeout=20) as answer:
        next(answer.iter_raw())
        before = -1
        while before != len(sent):  # until all buffers are full and the model can send no more
            before = len(sent)
            time.sleep(0.5)
        assert before * len(piece) < 64_000_000
    assert outside.server.left.wait(20)
