"""Whatever arrives, the decoder gives a canonical point or a coded refusal, and its two paths agree."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from flywheel_core.errors import POINT_CODES, PointError, RequestError
from flywheel_core.records import encode_point
from flywheel_core.wire import decode_point
from flywheel_core.wire_fields import decode_fields
from flywheel_core.wire_values import depth_of, is_deeper
from tests.core.batches import decode_batch

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, json_values, max_size=3)
models = st.sampled_from(["qwen-max", "qwen-math-7b", "模型"])


def named(snake: str) -> st.SearchStrategy[str]:
    words = snake.split("_")
    pascal = "".join(word.title() for word in words)
    return st.sampled_from([snake, pascal, pascal[0].lower() + pascal[1:]])


@st.composite
def points(draw: st.DrawFn) -> dict[str, Any]:
    """Draw points that are often valid, in any spelling; now and then a field has an arbitrary value."""
    responses = {
        model: {
            draw(named("model")): model,
            draw(named("answer")): draw(texts | st.none()),
            draw(named("latency_ms")): draw(st.integers(0, 10**6)),
            draw(named("raw_response")): draw(objects | st.none()),
        }
        for model in draw(st.lists(models, unique=True))
    }
    point: dict[str, Any] = {
        draw(named("question")): draw(texts),
        draw(named("responses")): responses,
        draw(named("scores")): draw(st.dictionaries(models, st.floats(-1, 1) | st.none())),
        draw(named("timestamp")): draw(st.integers(0, 2**32)),
    }
    if draw(st.booleans()):
        point["id"] = draw(texts)
    if draw(st.integers(0, 3)) == 0:
        point[draw(st.sampled_from(sorted(point)))] = draw(json_values)
    return point


def outcome(decode: Any, raw: bytes) -> Any:
    try:
        return json.loads(encode_point(decode(raw)))
    except PointError as error:
        assert error.code in POINT_CODES
        return error.code


@given(points())
def test_the_fast_path_and_the_field_decoder_agree(point: dict[str, Any]) -> None:
    raw = json.dumps(point, ensure_ascii=False).encode()
    assert outcome(decode_point, raw) == outcome(decode_fields, raw)


@given(points())
def test_what_is_accepted_is_canonical_and_stays_as_it_is(point: dict[str, Any]) -> None:
    try:
        line = encode_point(decode_point(json.dumps(point).encode()))
    except PointError:
        return
    assert b"\n" not in line
    assert encode_point(decode_point(line)) == line
    assert all(score is None or 0 <= score <= 1 for score in json.loads(line)["scores"].values())


@given(st.binary(max_size=300) | json_values.map(lambda value: json.dumps(value).encode()))
def test_anything_at_all_is_taken_or_refused_with_a_code(raw: bytes) -> None:
    outcome(decode_point, raw)


@given(st.lists(points(), max_size=4))
def test_a_batch_is_its_points(items: list[dict[str, Any]]) -> None:
    # A point without any time gets the present second, which may change between batch and points.
    raws = [json.dumps(item | {"received_at": 0}, ensure_ascii=False).encode() for item in items]
    batch = decode_batch(b'{"data_points": [' + b",".join(raws) + b"]}", 10)
    alone = [outcome(decode_point, raw) for raw in raws]
    assert [json.loads(encode_point(point)) for point in batch.points] == [
        one for one in alone if not isinstance(one, str)
    ]
    assert [(item.index, item.code) for item in batch.rejected] == [
        (index, one) for index, one in enumerate(alone) if isinstance(one, str)
    ]


@given(st.binary(max_size=200), st.integers(0, 60))
def test_a_damaged_batch_is_refused_or_its_points_are(noise: bytes, at: int) -> None:
    body = b'{"data_points": [{"question": "q", "responses": {}}, {"question": "r", "responses": {}}]}'
    try:
        batch = decode_batch(body[:at] + noise + body[at:], 1_000)
    except RequestError as error:
        assert error.code in ("body_unreadable", "batch_too_large")
        return
    for point in batch.points:
        msgspec.json.decode(encode_point(point))


_MARKS = st.text(st.sampled_from('"\\[]{}a问'), max_size=8)


@given(
    st.recursive(
        _MARKS | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_MARKS, inner, max_size=3),
    ),
    st.integers(0, 6),
)
def test_depth_is_the_same_in_text_and_in_what_it_decodes_to(value: Any, most: int) -> None:
    """This holds whatever brackets, quotes and backslashes the strings contain."""
    assert is_deeper(msgspec.json.encode(value), most) == (depth_of(value) > most)
