"""Reading a response on its way to the client: what is kept of it, and when it may be passed on."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable

import msgspec
import pytest

from flywheel_core.collect.answer import MAX_ANSWER_BYTES
from flywheel_gateway.recorder import Recorder
from tests.gateway.scripted import DONE, completion, event

JSON, STREAM = "application/json", "text/event-stream; charset=utf-8"


def recorded(
    body: bytes, content_type: str = JSON, encoding: str | None = None, status: int = 200
) -> Recorder:
    """Return a recorder that was fed a body in pieces of at most 1 MiB."""
    recorder = Recorder(status, content_type, encoding)
    for at in range(0, len(body), 1_048_576):
        recorder.feed(body[at : at + 1_048_576])
    return recorder


def of_size(size: int) -> bytes:
    """Return a completion of so many bytes."""
    return completion("x" * (size - len(completion(""))))


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [(None, bytes), ("identity", bytes), ("GZIP", gzip.compress), ("deflate", zlib.compress)],
)
def test_the_largest_answer_that_is_kept_is_as_large_as_one_of_collection(
    encoding: str | None, pack: Callable[[bytes], bytes]
) -> None:
    kept = recorded(pack(of_size(MAX_ANSWER_BYTES)), encoding=encoding)
    assert kept.usable
    assert kept.answer(complete=True).error is None
    assert msgspec.json.decode(kept.usage())["total_tokens"] == 30
    beyond = recorded(pack(of_size(MAX_ANSWER_BYTES + 1)), encoding=encoding)
    assert beyond.usable
    assert beyond.answer(complete=True).error == "body_too_large"
    assert msgspec.json.decode(beyond.usage()) is None


@pytest.mark.parametrize("content_type", [JSON, STREAM])
def test_a_body_that_unpacks_to_far_more_than_is_kept_is_not_unpacked(content_type: str) -> None:
    packed = gzip.compress(bytes(50 * MAX_ANSWER_BYTES), 1)
    tracemalloc.start()
    try:
        recorder = recorded(packed, content_type, "gzip")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert recorder.answer(complete=True).error == "body_too_large"
    assert most < 5 * MAX_ANSWER_BYTES


@pytest.mark.parametrize("content_type", [JSON, STREAM])
def test_what_follows_a_packed_body_is_not_kept(content_type: str) -> None:
    """zlib keeps all that follows the end of its data, and copies it at each further piece."""
    body = completion("two") if content_type == JSON else event("two", "stop") + DONE
    recorder = recorded(gzip.compress(body), content_type, "gzip")
    piece = b"x" * 65_536
    tracemalloc.start()
    try:
        for _ in range(100):
            recorder.feed(piece)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < len(piece)
    assert recorder.answer(complete=True).text == "two"


@pytest.mark.parametrize("content_type", [JSON, STREAM])
def test_a_damaged_packed_body_cannot_be_used(content_type: str) -> None:
    recorder = recorded(b"not gzip", content_type, "gzip")
    recorder.feed(gzip.compress(completion("later")))
    assert not recorder.usable
    answer = recorder.answer(complete=True)
    assert answer.error is not None and answer.error.startswith("malformed_body: ")


def test_a_stream_may_be_passed_on_once_something_of_it_is_there() -> None:
    packed = gzip.compress(event("two", "stop") + DONE)
    recorder = Recorder(200, STREAM, "gzip")
    recorder.feed(packed[:10])
    assert not recorder.usable, "only the head of the compression"
    recorder.feed(packed[10:])
    assert recorder.usable
    assert recorder.answer(complete=True).text == "two"
    assert recorder.answer(complete=False).text == "two"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(completion("half a"), JSON), (event("half a", "stop") + DONE, STREAM)],
)
def test_an_answer_that_ended_early_is_marked(body: bytes, content_type: str) -> None:
    """Even if what came reads like a whole answer."""
    recorder = recorded(body, content_type)
    assert recorder.answer(complete=True).error is None
    error = recorder.answer(complete=False).error
    assert error == "truncated: the stream ended early"


def test_a_failure_keeps_its_own_error_when_it_ends_early() -> None:
    recorder = recorded(json.dumps({"error": {"message": "slow down"}}).encode(), status=429)
    assert recorder.answer(complete=False).error == "http_status: 429 slow down"
    assert not recorded(event("x"), STREAM, status=500).streaming
