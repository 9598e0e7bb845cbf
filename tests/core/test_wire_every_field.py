"""Every field of a data point is read alike in every spelling, and what stays undecoded in it is checked.

The fields come from the records, so one that is added has to be known to every decoder.
"""

import json
from typing import Any, get_type_hints

import msgspec
import pytest

from flywheel_core.errors import PointError
from flywheel_core.records import DataPoint, Response, encode_point
from flywheel_core.wire import decode_point
from flywheel_core.wire_fields import decode_fields

ANSWER: dict[str, Any] = {
    "model": "big",
    "answer": "4",
    "latency_ms": 12,
    "error": "timeout",
    "finish_reason": "stop",
    "usage": {"prompt_tokens": 7},
    "cost": 0.25,
    "raw_response": {"choices": [{"index": 0}]},
}
POINT: dict[str, Any] = {
    "id": "p-1",
    "question": "what is 2 + 2?",
    "responses": {"big": ANSWER},
    "scores": {"big": 0.5},
    "timestamp": 1_767_225_600,
    "classification": {"category": "math"},
    "messages": [{"role": "user", "content": "what is 2 + 2?"}],
    "prompt_rule": "v0",
    "decision_id": "d-1",
    "served_model": "big",
    "mode": "training",
    "sampling_rate": 0.75,
    "asked": {"big": 0.5},
    "score_reasons": {"big": "timeout"},
    "score_spreads": {"big": 0.125},
    "tenant": "school",
    "user": "u-1",
    "source": "east",
    "received_at": 1_767_225_601.5,
    "schema_version": 1,
}
"""A data point with a value of its own in every field; `schema_version` is set by the collector."""


def pascal(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the same fields under CamelCase names, which only the decoder field by field knows."""
    return {"".join(word.title() for word in name.split("_")): value for name, value in fields.items()}


def undecoded(record: type[msgspec.Struct]) -> list[str]:
    return [name for name, kind in get_type_hints(record).items() if kind is msgspec.Raw]


def in_a_point(record: type[msgspec.Struct], field: str, value: Any) -> dict[str, Any]:
    if record is DataPoint:
        return POINT | {field: value}
    return POINT | {"responses": {"big": ANSWER | {field: value}}}


def outcome(decode: Any, raw: bytes) -> Any:
    try:
        return json.loads(encode_point(decode(raw)))
    except PointError as error:
        return error.code


@pytest.mark.parametrize(("record", "example"), [(DataPoint, POINT), (Response, ANSWER)])
def test_the_example_has_every_field_with_a_value_of_its_own(
    record: type[msgspec.Struct], example: dict[str, Any]
) -> None:
    fields = msgspec.structs.fields(record)
    assert list(example) == [field.name for field in fields]
    assert [one.name for one in fields if example[one.name] in (None, one.default)] in (
        [],
        ["schema_version"],
    )


@pytest.mark.parametrize("decode", [decode_point, decode_fields])
def test_every_field_arrives_in_every_spelling(decode: Any) -> None:
    """A decoder that does not know a field would drop it silently from some senders' points."""
    in_camel_case = pascal(POINT | {"responses": {"big": pascal(ANSWER)}})
    for spelling in (POINT, in_camel_case):
        assert outcome(decode, json.dumps(spelling).encode()) == POINT


UNDECODED = [(record, field) for record in (DataPoint, Response) for field in undecoded(record)]


@pytest.mark.parametrize(("record", "field"), UNDECODED)
def test_what_stays_undecoded_is_checked_and_on_one_line(record: type[msgspec.Struct], field: str) -> None:
    """A stored point is one line; a line break, or a value that no reader expects, may hide in undecoded text."""
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    for value in ({"a": [1]}, [{"a": 1}], {"a": deep}, [deep], "text", 5, True, None):
        spread = json.dumps(value, indent=1)  # over several lines; all other parts are on one
        raw = json.dumps(in_a_point(record, field, "HERE")).replace('"HERE"', spread).encode()
        assert outcome(decode_point, raw) == outcome(decode_fields, raw), value
        if not isinstance(outcome(decode_point, raw), str):
            assert b"\n" not in encode_point(decode_point(raw))
