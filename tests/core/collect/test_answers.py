"""What a reply says: a whole answer, or a failure with its own code."""

import json
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel_core.collect.answer import ANSWER_ERRORS, read_answer, storable
from flywheel_core.collect.scoring import code_of
from flywheel_core.collect.stream import StreamReader
from flywheel_core.records import NULL, DataPoint, Response, encode_point
from flywheel_core.wire import decode_point
from flywheel_core.wire_values import MAX_DEPTH


def completion(message: Any, finish_reason: Any = "stop", **more: Any) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish_reason}], **more}).encode()


def test_a_whole_answer_is_taken_with_all_that_came() -> None:
    """It has the text, the finish reason, the usage and the body itself."""
    body = completion({"content": "42"}, usage={"prompt_tokens": 1, "completion_tokens": 2})
    answer = read_answer(200, "application/json; charset=utf-8", body)
    assert (answer.text, answer.finish_reason, answer.error) == ("42", "stop", None)
    assert msgspec.json.decode(answer.usage) == {"prompt_tokens": 1, "completion_tokens": 2}
    assert msgspec.json.decode(answer.raw) == json.loads(body)


def test_text_parts_are_joined() -> None:
    """Some servers answer in parts, as questions may come in parts."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read_answer(200, "application/json", completion({"content": parts})).text == "a\nb"


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize("content", [None, "", " \n"])
def test_reasoning_alone_is_no_answer(field: str, content: str | None) -> None:
    """Models name that field differently; whole or streamed, they are judged alike."""
    message = {"content": content, field: "first, I add"}
    whole = read_answer(200, "application/json", completion(message))
    stream = StreamReader()
    chunk = {"choices": [{"index": 0, "delta": message, "finish_reason": "stop"}]}
    stream.feed(f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode())
    assert (whole.error, stream.answer().error) == ("empty_answer", "empty_answer")


@pytest.mark.parametrize(
    ("status", "content_type", "body", "error"),
    [
        (429, "application/json", b'{"error": {"message": "slow down"}}', "http_status: 429 slow down"),
        (500, "application/json", completion({"content": "42"}), "http_status: 500"),
        (503, "text/html", b"<html>", "http_status: 503"),
        (404, "application/json", b'{"error": "no such model"}', "http_status: 404 no such model"),
        (201, "application/json", completion({"content": "42"}), "http_status: 201"),
        (302, None, b"", "redirect: 302"),
        (200, "text/html", b"<html>log in</html>", "content_type: text/html"),
        (200, "text/event-stream", b"data: {}\n\n", "content_type: text/event-stream"),
        (200, None, completion({"content": "42"}), "content_type: none"),
        (200, "application/json", b"", "malformed_body"),
        (200, "application/json", b'{"choices": [', "malformed_body"),
        (200, "application/json", b'"42"', "malformed_body"),
        (200, "application/json", b'{"choices": "none"}', "malformed_body"),
        (200, "application/json", b'{"choices": [{"message": {"content": "\xff"}}]}', "malformed_body"),
        (
            200,
            "application/json",
            b'{"id": "\xff", "choices": [{"message": {"content": "42"}}]}',
            "malformed_body",
        ),
        (200, "application/json", b"[" * 100_000, "malformed_body"),
        (200, "application/json", b"{}", "no_choices"),
        (200, "application/json", b'{"choices": []}', "no_choices"),
        (200, "application/json", b'{"choices": null}', "no_choices"),
        (200, "application/json", b'{"choices": [{}]}', "empty_answer"),
        (200, "application/json", completion({"content": None}), "empty_answer"),
        (200, "application/json", completion({"content": ""}), "empty_answer"),
        (200, "application/json", completion({"content": " \n"}), "empty_answer"),
        (200, "application/json", completion({"content": 42}), "empty_answer"),
        (200, "application/json", completion({"content": None, "tool_calls": [{}]}), "tool_call"),
        (200, "application/json", completion({"content": None, "refusal": "no"}), "refused"),
        (200, "application/json", completion({"content": "4"}, "length"), "truncated: finish_reason length"),
        (200, "application/json", completion({"content": ""}, "length"), "truncated: finish_reason length"),
        (200, "application/json", completion({"content": "4"}, "content_filter"), "content_filter"),
    ],
)
def test_each_failure_has_its_own_error(
    status: int, content_type: str | None, body: bytes, error: str
) -> None:
    """Failures can be told apart, and each begins with a documented code."""
    answer = read_answer(status, content_type, body)
    assert answer.error is not None
    assert answer.error.startswith(error)
    assert code_of(answer.error) in ANSWER_ERRORS


def test_a_truncated_answer_is_kept_but_not_whole() -> None:
    """What arrived is recorded, and the response counts as failed."""
    answer = read_answer(200, "application/json", completion({"content": "The answer is 4"}, "length"))
    assert answer.text == "The answer is 4"
    assert Response("m", answer.text, error=answer.error).failed


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(json.loads(completion({"content": "42"}, usage={"a": 1})), indent=2).encode(),
        completion({"content": "42"}, extra=json.loads("[" * 60 + "]" * 60)),
        completion({"content": "42"}, extra=json.loads("[" * (MAX_DEPTH - 3) + "]" * (MAX_DEPTH - 3))),
        completion({"content": "a\ud83d"}),
        completion({"content": "42"}, usage=[1]),
    ],
    ids=["pretty", "deep", "slightly too deep", "half surrogate", "odd usage"],
)
def test_what_is_stored_of_any_body_is_a_data_point(body: bytes) -> None:
    """A model's odd body never costs the whole point: the collector's decoder accepts it, on one line."""
    answer = read_answer(200, "application/json", body)
    response = Response("m", answer.text, 1, usage=answer.usage, raw_response=answer.raw)
    line = encode_point(DataPoint("i", "q", {"m": response}, {"m": None}, 1))
    assert b"\n" not in line
    assert decode_point(line).responses["m"].answer == answer.text


@given(st.integers(100, 599), st.none() | st.text(max_size=20), st.binary(max_size=60))
def test_any_reply_is_an_answer_or_a_failure(status: int, content_type: str | None, body: bytes) -> None:
    """Nothing that a server sends makes reading fail."""
    for kind in (content_type, "application/json"):
        answer = read_answer(status, kind, body)
        assert answer.error is not None or answer.text
        assert answer.error is None or code_of(answer.error) in ANSWER_ERRORS


@pytest.mark.parametrize(
    ("status", "before", "after"),
    [
        (200, b'{"choices":[{"message":{"content":"x"}}],"more":[', b"0]}"),
        (200, b'{"choices":[{"message":{"content":"x"}}],"usage":{"a":[', b"0]}}"),
        (200, b'{"choices":[{"message":{"tool_calls":[', b"0]}}]}"),
        (500, b'{"error":{"message":"x","more":[', b"0]}}"),
    ],
)
def test_parts_of_a_reply_that_nobody_reads_are_not_decoded(status: int, before: bytes, after: bytes) -> None:
    """Decoding would make hundreds of thousands of lists, and everybody else would wait meanwhile."""
    body = before + b"[]," * 300_000 + after
    tracemalloc.start()
    try:
        answer = read_answer(status, "application/json", body)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (answer.text, answer.raw) == ("x" if b'"content"' in before else None, msgspec.Raw(body))
    assert most < 10 * len(body)


@pytest.mark.parametrize(
    "body", [b'{"a": ', b'{"a": 1} x', b'{"a": "\xff"}', b'{"a": ' + b"[" * 100_000, b"[1]", b""]
)
def test_a_body_that_is_no_object_is_not_stored(body: bytes) -> None:
    """A data point that held it could not be read back."""
    assert storable(body) is NULL
