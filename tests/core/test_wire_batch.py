"""Batches from the wire: each data point is judged alone; only an unreadable envelope fails all of them."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from flywheel_core import wire_batch
from flywheel_core.errors import RequestError
from flywheel_core.records import encode_point
from flywheel_core.wire import MAX_LINE_BYTES, MAX_POINT_BYTES, decode_point
from flywheel_core.wire_batch import MAX_TOKENS, PART_BYTES, Batch, decode_parts
from tests.core.batches import decode_batch

GOOD = (
    b'{"question": "q", "responses": {"m": {"answer": "a, [b] {c}"}}, "scores": {"m": 0.5}, "timestamp": 7}'
)


def batch_of(*points: bytes, name: bytes = b"data_points") -> Batch:
    return decode_batch(
        b'{"' + name + b'": [' + b", ".join(points) + b'], "count": 1, "timestamp": 2}', 1_000
    )


def canonical(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"p-{number}",
        "question": "q 问",
        "responses": {"m": {"model": "m", "answer": 'a "b"\n问', "raw_response": {"a": "问"}}},
        "scores": {"m": 0.5},
        "timestamp": 7,
        **changes,
    }


BAD = [
    ("score_invalid", b'{"question": "q", "responses": {}, "scores": {"m": NaN}}'),
    ("score_invalid", b'{"question": "q", "responses": {}, "scores": {"m": -Infinity}}'),
    ("score_invalid", b'{"question": "q", "responses": {}, "scores": {"m": 1e999}}'),
    ("point_not_object", b"null"),
    ("point_not_utf8", b'{"question": "\xff", "responses": {}}'),
    ("point_not_utf8", rb'{"question": "\ud800", "responses": {}}'),
    (
        "point_too_deep",
        b'{"question": "q", "responses": {}, "messages": ' + b"[" * 90_000 + b"]" * 90_000 + b"}",
    ),
    ("point_not_json", b'{"question": "q" "responses": {}}'),
    ("point_not_json", rb'{"question": "\q", "responses": {}}'),
]


@pytest.mark.parametrize(("code", "bad"), BAD)
def test_one_bad_point_does_not_sink_its_neighbours(code: str, bad: bytes) -> None:
    batch = batch_of(GOOD, bad, GOOD)
    assert len(batch.points) == 2
    assert [(item.index, item.code, item.raw) for item in batch.rejected] == [(1, code, bad)]


@pytest.mark.parametrize("name", [b"data_points", b"DataPoints", b"dataPoints", b"DATA_POINTS"])
def test_the_list_may_be_spelled_in_any_way(name: bytes) -> None:
    assert len(batch_of(GOOD, name=name).points) == 1


def test_the_fast_path_and_the_field_decoder_store_the_same_points() -> None:
    points = [json.dumps(canonical(number), ensure_ascii=False).encode() for number in range(40)]
    fast = batch_of(*points).points
    assert [json.loads(encode_point(point)) for point in fast] == [
        json.loads(encode_point(decode_point(point))) for point in points
    ]


@pytest.mark.parametrize("count", [1, 100], ids=["small", "large enough to leave answers undecoded"])
@pytest.mark.parametrize(
    ("code", "changes"),
    [
        (
            "point_too_deep",
            {"responses": {"m": {"model": "m", "raw_response": {"a": json.loads("[" * 40 + "]" * 40)}}}},
        ),
        ("response_invalid", {"responses": {"m": {"model": "m", "raw_response": [1]}}}),
        ("response_invalid", {"responses": {"m": {"model": "m", "answer": {"a": 1}}}}),
        ("response_invalid", {"responses": {"m": {"model": "m", "answer": 5}}}),
        ("field_invalid", {"messages": {"a": 1}}),
        ("field_invalid", {"classification": []}),
        ("question_empty", {"question": " "}),
    ],
)
def test_rules_that_no_type_expresses_hold_on_the_fast_path_too(
    count: int, code: str, changes: dict[str, Any]
) -> None:
    points = [json.dumps(canonical(number)).encode() for number in range(count)]
    batch = batch_of(*points, json.dumps(canonical(0, **changes)).encode())
    assert len(batch.points) == count
    assert [(item.index, item.code) for item in batch.rejected] == [(count, code)]


def test_an_answer_on_the_fast_path_is_null_or_text() -> None:
    points = [canonical(1, responses={"m": {"model": "m", "answer": answer}}) for answer in (None, "text")]
    lines = [
        json.loads(encode_point(point))
        for point in batch_of(*(json.dumps(p).encode() for p in points)).points
    ]
    assert [line["responses"]["m"]["answer"] for line in lines] == [None, "text"]


def test_line_breaks_between_tokens_do_not_reach_the_stored_line() -> None:
    body = json.dumps({"data_points": [canonical(1), canonical(2)]}, indent=1).encode()
    points = decode_batch(body, 10).points
    assert len(points) == 2
    assert all(b"\n" not in encode_point(point) for point in points)


@pytest.mark.parametrize(
    "shape",
    [lambda p: p, lambda p: {key: p[key] for key in ("question", "responses")}],
    ids=["short", "long"],
)
@pytest.mark.parametrize("before", [0, 1, 40])
def test_of_two_lists_of_the_same_name_the_last_counts_on_both_ways(
    shape: Callable[[dict[str, Any]], dict[str, Any]], before: int
) -> None:
    early, late = (
        ", ".join(json.dumps(shape(canonical(number))) for number in numbers)
        for numbers in (range(before), (90, 91))
    )
    batch = decode_batch(f'{{"data_points": [{early}], "count": 3, "data_points": [{late}]}}'.encode(), 100)
    assert [point.question for point in batch.points] == [canonical(n)["question"] for n in (90, 91)]
    assert batch.rejected == []


def test_of_a_list_and_null_of_the_same_name_the_last_counts() -> None:
    assert decode_batch(b'{"data_points": [' + GOOD + b'], "data_points": null}', 10) == Batch([], [])
    assert len(decode_batch(b'{"data_points": null, "data_points": [' + GOOD + b"]}", 10).points) == 1
    with pytest.raises(RequestError, match="not an object with one list"):
        decode_batch(b'{"data_points": [' + GOOD + b'], "data_points": {}}', 10)


@pytest.mark.parametrize("body", [b'{"data_points": []}\n', b'{"data_points": null}', b'{"DataPoints": [ ]}'])
def test_an_empty_batch_is_readable(body: bytes) -> None:
    assert decode_batch(body, 10) == Batch([], [])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"data_points": {}}',
        b'{"data_points": 5}',
        b'{"data_points": [' + GOOD,
        b'{"data_points": [' + GOOD + b"]",
        b'{"data_points": [' + GOOD + b"]} x",
        b'{"data_points": ["unended]}',
        b'{"data_points": [' + b"[" * 100_000,
        b'{"data_points": [' + GOOD + b'], "DataPoints": []}',
        b'{"points": [' + GOOD + b"]}",
        b'{"data_points": [null], "more": "' + b"x" * 70_000 + b'"}',
        b'{"data_points": [' + b"[]," * MAX_TOKENS + b"1]}",
    ],
    ids=range(16),
)
def test_an_envelope_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        decode_batch(body, MAX_TOKENS * 2)
    assert caught.value.code == "body_unreadable"


def test_a_large_body_without_a_list_is_told_what_a_batch_is() -> None:
    """As when a file of data points, one on each line, is sent as it is."""
    with pytest.raises(RequestError, match="not an object with one list"):
        decode_batch((GOOD + b"\n") * 2_000, 10)


@pytest.mark.parametrize("point", [GOOD, json.dumps(canonical(1)).encode(), b"0"])
def test_too_many_points_are_refused(point: bytes) -> None:
    body = b'{"data_points": [' + b", ".join([point] * 11) + b"]}"
    with pytest.raises(RequestError) as caught:
        decode_batch(body, 10)
    assert caught.value.code == "batch_too_large"
    assert len(decode_batch(body, 11).points) + len(decode_batch(body, 11).rejected) == 11


def large(answer: str, *more: bytes, count: int = 12) -> bytes:
    """Return a batch of `count` points with an answer of 1 MiB each, followed by `more` in the same list."""
    points = [
        canonical(number, responses={"m": {"model": "m", "answer": answer * (2**20 // len(answer.encode()))}})
        for number in range(count)
    ]
    texts = [json.dumps(point, ensure_ascii=False).encode() for point in points]
    return b'{"data_points": [' + b" ,\n".join([*texts, *more]) + b"]}"


@pytest.mark.parametrize("answer", ["a", "\u00e9", "a, [b] {c}"])
def test_a_large_body_is_decoded_in_parts(answer: str) -> None:
    """All parts together equal what decoding each point alone gives; no part exceeds PART_BYTES by much."""
    parts = list(decode_parts(large(answer), 1_000))
    lines = [encode_point(point) for part in parts for point in part.points]
    assert len(parts) == 12 // (PART_BYTES // (2**20 + 1_024))
    assert all(sum(len(encode_point(point)) for point in part.points) < 1.1 * PART_BYTES for part in parts)
    whole = [
        encode_point(decode_point(json.dumps(item, ensure_ascii=False).encode()))
        for item in json.loads(large(answer))["data_points"]
    ]
    assert [json.loads(line) for line in lines] == [json.loads(line) for line in whole]


@pytest.mark.parametrize(
    "bad",
    [b"5", b"nonsense", b'{"a": \xff}', b'{"question": "q" "responses": {}}', b'"a text, with a comma"'],
)
def test_what_is_bad_in_a_large_body_is_named_by_its_place(bad: bytes) -> None:
    body = large("a", bad, b" \n" + GOOD + b"\t", bad)
    batch = decode_batch(body, 1_000)
    assert len(batch.points) == 13
    assert [(item.index, item.raw) for item in batch.rejected] == [(12, bad), (14, bad)]


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("others", [(), (b"{}",)])
def test_a_point_that_is_too_large_is_refused_in_every_batch(more: int, others: tuple[bytes, ...]) -> None:
    """This holds even where it could be decoded, because ingest would refuse it.

    A point of exactly the limit grows when it is stored, and can still be read back as a raw line.
    """
    text = json.dumps(canonical(1, question="q", responses={"m": {"model": "m", "answer": "@"}})).encode()
    text = text.replace(b"@", b"a" * (MAX_POINT_BYTES - len(text) + 1 + more))
    batch = decode_batch(b'{"data_points": [' + b",".join([text, *others]) + b"]}", 10)
    assert [item.code for item in batch.rejected] == ["point_too_large"] * more + ["question_missing"] * len(
        others
    )
    if more:
        assert batch.rejected[0].raw == text
    else:
        (point,) = batch.points
        point.source, point.received_at = "s", 1.5
        line = encode_point(point)
        assert len(line) > MAX_POINT_BYTES
        assert decode_point(line, max_bytes=MAX_LINE_BYTES).id == "p-1"


def test_a_large_body_with_too_many_points_is_refused_before_anything_is_decoded() -> None:
    with pytest.raises(RequestError) as caught:
        next(decode_parts(large("a"), 11))
    assert caught.value.code == "batch_too_large"
    assert list(decode_parts(b'{"data_points": []}' + b" " * PART_BYTES, 11)) == []


def test_a_key_is_decoded_once_however_many_lists_follow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0

    def counted(text: bytes) -> Any:
        nonlocal reads
        reads += 1
        return json.loads(text)

    monkeypatch.setattr(wire_batch, "json", SimpleNamespace(loads=counted))
    with pytest.raises(RequestError, match="not JSON"):
        decode_batch(b'{"' + b"a" * 1_000 + b'": ' + b"[]" * 1_000 + b"}", 1_000)
    assert reads == 2  # the name and the envelope
