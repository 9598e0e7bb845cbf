"""Ingest's own fast reader of points accepts exactly what the wire decoder accepts, with the same values."""

import json
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel_core.errors import PointError
from flywheel_core.lake import points as points_module
from flywheel_core.lake.points import PointReader, free_part
from flywheel_core.records import DataPoint, Response
from flywheel_core.wire import decode_point
from flywheel_core.wire_values import MAX_DEPTH
from tests.core.lake.lakes import DAY, line, point, response

KEPT = [
    name for name in DataPoint.__struct_fields__ if name not in ("responses", "messages", "schema_version")
]
MIDNIGHT = 1_767_571_200

texts = st.text(max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)
names = st.sampled_from(["big", "algebra", "模型", ""])
numbers = st.none() | st.integers(-2, 10**20) | st.floats() | st.booleans() | st.just("0.9")
responses = st.fixed_dictionaries(
    {},
    optional={
        "model": names,
        "answer": st.none() | texts,
        "latency_ms": numbers,
        "error": json_values,
        "finish_reason": st.none() | texts,
        "usage": json_values,
        "cost": numbers,
        "raw_response": json_values,
        "Extra": json_values,
    },
)
points = st.fixed_dictionaries(
    {"question": texts | json_values},
    optional={
        "id": texts | st.integers(),
        "responses": st.dictionaries(names, responses, max_size=3) | json_values,
        "scores": st.dictionaries(names, numbers, max_size=3) | json_values,
        "timestamp": numbers,
        "classification": json_values,
        "messages": json_values,
        "asked": st.dictionaries(names, numbers, max_size=2) | st.none(),
        "tenant": texts | st.none(),
        "received_at": numbers,
        "Question": texts,
        "unknown": json_values,
    },
)


def read_point(raw: bytes, answers: bool = True) -> Any:
    """Return the point of a chunk that consists of one line."""
    return PointReader(raw, DAY, answers).read(raw)


def seen(read: Any, raw: bytes) -> Any:
    """Return, in comparable form, what a decoder makes of a line: an error code, or all that tables keep."""
    try:
        found = read(raw)
    except PointError as error:
        return error.code
    values = {name: getattr(found, name) for name in KEPT}
    values["classification"] = free_part(found.classification)
    for model, answer in found.responses.items():
        values[f"response of {model}"] = [
            getattr(answer, field)
            for field in ("model", "answer", "latency_ms", "error", "finish_reason", "cost")
        ]
    return values


def agree(raw: bytes) -> None:
    """Check that ingest and wire decoder read a line alike; without answers only their text may differ."""
    by_wire = seen(lambda text: decode_point(text, now=MIDNIGHT), raw)
    assert seen(read_point, raw) == by_wire
    without = seen(lambda text: read_point(text, answers=False), raw)
    if isinstance(by_wire, str):
        assert without == by_wire
        return
    assert without.keys() == by_wire.keys()
    for name, value in by_wire.items():
        if not name.startswith("response of "):
            assert without[name] == value
            continue
        found = without[name]
        assert found[:1] + found[2:] == value[:1] + value[2:]
        assert (found[1] is None) == (value[1] is None)
        assert bool((found[1] or "").strip()) == bool((value[1] or "").strip())


@given(points)
def test_any_json_is_read_as_the_wire_reads_it(value: Any) -> None:
    raw = json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")
    agree(raw)


blank_or_not = st.text(alphabet=' \n\t\u3000\u00a0x"\\，', max_size=4)


@given(
    st.none() | blank_or_not,
    json_values,
    st.dictionaries(texts, json_values, max_size=3),
    st.none() | st.dictionaries(texts, json_values, max_size=3),
    st.integers(0, 36),
    st.booleans(),
)
def test_canonical_lines_with_any_answer_and_any_free_parts_are_read_as_the_wire_reads_them(
    answer: str | None, usage: Any, raw_response: Any, classification: Any, depth: int, escaped: bool
) -> None:
    nested: Any = "{"
    for _ in range(depth):
        nested = [nested] if depth % 2 else {"inner": nested}
    value = point("p", {"big": 0.5, "coder": 1}, classification=classification, messages=[{"role": nested}])
    value["responses"]["big"] |= {
        "answer": answer,
        "usage": usage,
        "raw_response": {**raw_response, "nested": nested},
    }
    raw = json.dumps(value, ensure_ascii=escaped).encode(errors="surrogatepass")
    agree(raw)


messages = st.fixed_dictionaries(
    {},
    optional={
        "role": texts | json_values,
        "content": blank_or_not | json_values,
        "reasoning_content": st.none() | json_values,
        "tool_calls": json_values,
    },
)
completions = st.fixed_dictionaries(
    {},
    optional={
        "id": texts,
        "created": st.integers(0, 10**10) | st.floats(),
        "choices": st.none()
        | st.lists(
            st.fixed_dictionaries({"index": st.integers(0, 3), "message": st.none() | messages}), max_size=3
        ),
        "usage": json_values,
        "extra": json_values,
    },
)


@given(st.none() | blank_or_not, completions, st.booleans())
def test_lines_with_chat_completions_are_read_as_the_wire_reads_them(
    answer: str | None, completion: Any, escaped: bool
) -> None:
    value = point("p", {"big": 0.5, "coder": 1})
    value["responses"]["big"] |= {"answer": answer, "raw_response": completion}
    agree(json.dumps(value, ensure_ascii=escaped).encode(errors="surrogatepass"))


UNDECODED = [name for name, kind in get_type_hints(points_module._Message).items() if kind is msgspec.Raw]


@pytest.mark.parametrize("part", UNDECODED)
def test_an_undecoded_part_of_a_completion_is_checked_like_all_others(part: str) -> None:
    """It may hide a nesting that is too deep, which the wire refuses."""
    nested: Any = []
    for _ in range(2 * MAX_DEPTH):
        nested = [nested]
    value = point("p", {"big": 0.5})
    value["responses"]["big"]["raw_response"] = {"choices": [{"message": {part: nested}}]}
    raw = json.dumps(value).encode()
    assert seen(decode_point, raw) == "point_too_deep"
    agree(raw)


FREE = [
    (record, name)
    for record in (DataPoint, Response)
    for name, kind in get_type_hints(record).items()
    if kind is msgspec.Raw
]


@pytest.mark.parametrize(("record", "part"), FREE)
def test_a_free_form_part_of_a_point_is_checked_whether_tables_keep_it_or_not(
    record: type[msgspec.Struct], part: str
) -> None:
    """A part that is added to the records needs a type of its own here, or ingest takes what the wire refuses."""
    nested: Any = {}
    for _ in range(2 * MAX_DEPTH):
        nested = {"inner": nested}
    for wrong in (nested, "text"):
        value = point("p", {"big": 0.5})
        (value if record is DataPoint else value["responses"]["big"])[part] = wrong
        raw = json.dumps(value).encode()
        assert isinstance(seen(decode_point, raw), str), "the wire refuses it"
        agree(raw)


@pytest.mark.parametrize("wrong", [{"model": "other"}, {"answer": 5}, {"answer": ["a"]}])
def test_a_response_that_breaks_a_rule_is_read_as_the_wire_reads_it(wrong: dict[str, Any]) -> None:
    agree(json.dumps(point("p", {"big": 0.5}, responses={"big": response("big") | wrong})).encode())


def test_one_bad_line_does_not_touch_its_neighbours() -> None:
    good = [line(point(f"p{number}", {"big": 0.5})).strip() for number in range(4)]
    bad = [b"\xff", b"null", b"{", b'{"question": "\xed\xa0\x80"}']
    lines = [good[0], bad[0], good[1], bad[1], good[2], bad[2], bad[3], good[3]]
    reader = PointReader(b"\n".join(lines), DAY)
    found = []
    for raw in lines:
        try:
            found.append(reader.read(raw).id)
        except PointError as error:
            found.append(error.code)
    assert found == [
        "p0",
        "point_not_utf8",
        "p1",
        "point_not_object",
        "p2",
        "point_not_json",
        "point_not_utf8",
        "p3",
    ]


@given(st.data())
def test_a_damaged_line_is_read_as_the_wire_reads_it(data: st.DataObject) -> None:
    value = point("p", {"big": 0.5, "algebra": None}, messages=[{"role": "用户"}])
    value["responses"]["big"] |= {
        "usage": {"n": 1},
        "raw_response": {"choices": [{"message": {"content": "答{案"}}]},
    }
    raw = bytearray(line(value).strip())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw
    agree(bytes(raw))


@pytest.mark.parametrize(
    ("raw_response", "code"),
    [
        (b'{"text": "\xff"}', "point_not_utf8"),
        (b'{"n": ' + b"[" * 40 + b"]" * 40 + b"}", "point_too_deep"),
        (b'{"n": [1, }', "point_not_json"),
        (b'{"choices": [{"message": {"content": "\xff"}}]}', "point_not_utf8"),
        (b'{"choices": [{"message": {"content": ' + b"[" * 40 + b"]" * 40 + b"}}]}", "point_too_deep"),
        (b'{"choices": [{"message": {"content": "\\ud800"}}]}', "point_not_utf8"),
    ],
)
def test_what_no_table_keeps_is_looked_at_all_the_same(raw_response: bytes, code: str) -> None:
    value = point("p", {"big": 0.5})
    value["responses"]["big"]["raw_response"] = "HERE"
    raw = line(value).strip().replace(b'"HERE"', raw_response)
    with pytest.raises(PointError) as refusal:
        read_point(raw)
    assert refusal.value.code == code


def test_a_byte_order_mark_is_skipped() -> None:
    raw = b"\xef\xbb\xbf" + line(point("p", {"big": 0.5})).strip()
    assert read_point(raw).id == "p"


def test_a_point_without_any_time_is_of_its_days_first_second() -> None:
    raw = line({"question": "When?", "responses": {"big": response("big")}}).strip()
    assert read_point(raw).timestamp == MIDNIGHT
    assert read_point(raw).id == read_point(raw).id
