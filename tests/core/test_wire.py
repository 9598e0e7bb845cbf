"""One data point from the wire: every spelling is accepted, and every fault has its code."""

import json
from typing import Any

import pytest

from flywheel_core.errors import POINT_CODES, PointError
from flywheel_core.records import encode_point
from flywheel_core.wire import MAX_LINE_BYTES, MAX_POINT_BYTES, decode_point
from flywheel_core.wire_fields import NO_TIME, NO_TIME_SECONDS, decode_fields

CANONICAL: dict[str, Any] = {
    "id": "p-1",
    "question": "what is 2 + 2?",
    "responses": {
        "qwen-max": {
            "model": "qwen-max",
            "answer": "4",
            "latency_ms": 12,
            "error": None,
            "raw_response": {"a": [1]},
        }
    },
    "scores": {"qwen-max": 0.5},
    "timestamp": 1_767_225_600,
}
GATEWAY: dict[str, Any] = {
    "Question": "what is 2 + 2?",
    "Responses": {
        "qwen-max": {
            "Model": "qwen-max",
            "Answer": "4",
            "Latency": 12,
            "Error": None,
            "RawResponse": {"a": [1]},
        }
    },
    "Scores": {"qwen-max": 0.5},
    "Timestamp": 1_767_225_600,
    "Classification": None,
}


def text(point: Any, **changes: Any) -> bytes:
    return json.dumps(point | changes if changes else point).encode()


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def response(**fields: Any) -> dict[str, Any]:
    return {"qwen-max": {"model": "qwen-max", "answer": "4", **fields}}


def test_the_canonical_form_is_kept() -> None:
    point = decode_point(text(CANONICAL))
    assert point.id == "p-1"
    assert point.responses["qwen-max"].latency_ms == 12
    assert json.loads(encode_point(point))["responses"]["qwen-max"]["raw_response"] == {"a": [1]}
    assert decode_point(encode_point(point)) == point


def test_the_reference_gateway_and_camel_case_become_the_same_point() -> None:
    without_id = {key: value for key, value in CANONICAL.items() if key != "id"}
    camel = {
        "question": CANONICAL["question"],
        "responses": {"qwen-max": {"answer": "4", "latencyMs": 12, "rawResponse": {"a": [1]}}},
        "scores": CANONICAL["scores"],
        "timestamp": CANONICAL["timestamp"],
    }
    points = [json.loads(encode_point(decode_point(text(one)))) for one in (without_id, GATEWAY, camel)]
    assert points[0] == points[1] == points[2]
    assert points[0]["id"].startswith("sha256-")


def test_what_was_asked_and_how_it_was_scored_are_the_same_in_camel_case() -> None:
    asked, reasons, spreads = {"a": 0, "b": 0.25}, {"a": "timeout"}, {"b": 1}
    for point in (
        decode_point(text(CANONICAL, asked=asked, score_reasons=reasons, score_spreads=spreads)),
        decode_point(text(CANONICAL, asked=asked, scoreReasons=reasons, scoreSpreads=spreads)),
    ):
        assert (point.asked, point.score_reasons, point.score_spreads) == (asked, reasons, spreads)


@pytest.mark.parametrize(("shape", "responses"), [(CANONICAL, "responses"), (GATEWAY, "Responses")])
def test_a_response_is_of_the_model_under_whose_name_it_stands(shape: dict[str, Any], responses: str) -> None:
    """The name inside the response may be another, such as an upstream's: scores go by the outer one."""
    other = json.loads(text(shape[responses]).replace(b'odel": "qwen-max"', b'odel": "other"'))
    assert other != shape[responses]
    lines = [encode_point(decode_point(one)) for one in (text(shape, **{responses: other}), text(shape))]
    assert json.loads(lines[0]) == json.loads(lines[1])


def test_a_point_without_id_gets_the_same_one_at_every_retry() -> None:
    first, again = decode_point(text(GATEWAY)), decode_point(text(GATEWAY))
    other = decode_point(text(GATEWAY, Timestamp=1_767_225_601))
    assert first.id == again.id != other.id


@pytest.mark.parametrize("score", [-1, -1.0, None])
@pytest.mark.parametrize("shape", [CANONICAL, GATEWAY])
def test_minus_one_and_null_mean_no_score(shape: dict[str, Any], score: float | None) -> None:
    key = "scores" if "scores" in shape else "Scores"
    assert decode_point(text(shape, **{key: {"qwen-max": score}})).scores == {"qwen-max": None}


@pytest.mark.parametrize("error", [{}, "timed out", {"Op": "Get", "URL": "u", "Err": {}}, 0, False])
def test_any_error_that_is_not_null_means_that_the_call_failed(error: Any) -> None:
    responses = {"m": {"Model": "m", "Answer": "", "Latency": 1, "Error": error, "RawResponse": None}}
    assert decode_point(text(GATEWAY, Responses=responses)).responses["m"].failed


def test_a_go_duration_is_nanoseconds() -> None:
    responses = {
        "m": {"Model": "m", "Answer": "a", "Latency": 812_000_000, "Error": None, "RawResponse": None}
    }
    for decode in (decode_point, decode_fields):  # a plain point in a known shape takes a path of its own
        assert decode(text(GATEWAY, Responses=responses)).responses["m"].latency_ms == 812


@pytest.mark.parametrize("size", [100, 10_000, 1_200_000])
def test_what_is_not_utf8_is_refused_however_long_the_point_is(size: int) -> None:
    raw = {"m": {"model": "m", "answer": "a", "raw_response": {"text": "PAD"}}}
    whole = text(CANONICAL, responses=raw, scores={})
    good = whole.replace(b"PAD", "é".encode() * (size // 2))
    assert good.count(bytes(decode_point(good).responses["m"].raw_response)) == 1
    with pytest.raises(PointError):
        decode_point(whole.replace(b"PAD", b"x" * size + b"\xff"))


def test_integers_above_2_to_53_in_kept_json_stay_exact() -> None:
    big = 2**63 + 1
    point = decode_point(text(CANONICAL, responses=response(raw_response={"n": big})))
    assert json.loads(bytes(point.responses["qwen-max"].raw_response)) == {"n": big}


def test_a_pretty_printed_point_is_stored_on_one_line() -> None:
    line = encode_point(decode_point(json.dumps(CANONICAL, indent=2).encode()))
    assert b"\n" not in line


def test_times_of_other_zones_are_taken() -> None:
    assert decode_point(text(CANONICAL, timestamp="2026-01-01T08:00:00+08:00")).timestamp == 1_767_225_600


@pytest.mark.parametrize("never", [NO_TIME, NO_TIME_SECONDS])
def test_gos_zero_time_counts_as_no_time(never: str | int) -> None:
    unset, absent = (text(CANONICAL, timestamp=value, received_at=1_767_225_700.5) for value in (never, None))
    assert decode_point(unset) == decode_point(absent)
    assert decode_point(unset).timestamp == 1_767_225_700


def test_a_point_whose_stored_line_ingest_could_not_read_is_refused() -> None:
    """1e15 takes 4 bytes as it is sent and 18 as it is stored."""
    numbers = b"1e15," * (MAX_LINE_BYTES // 20)
    raw = text(CANONICAL, unknown=1).replace(b'"a": [1]', b'"a": [%b1]' % numbers)
    assert len(raw) < MAX_POINT_BYTES
    assert len(encode_point(decode_point(raw))) < MAX_LINE_BYTES
    raw = raw.replace(numbers, numbers + numbers[: len(numbers) // 2])
    assert len(raw) < MAX_POINT_BYTES
    with pytest.raises(PointError) as caught:
        decode_point(raw)
    assert caught.value.code == "point_too_large"


def test_unknown_fields_are_dropped() -> None:
    assert b"whatever" not in encode_point(decode_point(text(CANONICAL, whatever=1)))


@pytest.mark.parametrize("spelling", [CANONICAL, GATEWAY, CANONICAL | {"whatever": 1}])
def test_of_a_repeated_key_the_last_value_counts_in_every_spelling(spelling: dict[str, Any]) -> None:
    once = text(spelling)
    twice = once.replace(b'"qwen-max": 0.5', b'"qwen-max": 0.25, "qwen-max": 0.5')
    twice = twice.replace(b'"4"', b'"5", "answer": "4"' if b"answer" in once else b'"5", "Answer": "4"')
    assert len(twice) > len(once) + len(b'"qwen-max": 0.25, ')
    assert decode_point(twice) == decode_point(once)


def test_nesting_to_the_limit_is_taken() -> None:
    decode_point(text(CANONICAL, responses=response(raw_response={"a": nested(28)})))


def test_many_brackets_that_are_not_nested_are_taken() -> None:
    wide = {"a": [[1]] * 200, "code": "{[" * 500}
    point = decode_point(text(CANONICAL, responses=response(raw_response=wide)))
    assert json.loads(bytes(point.responses["qwen-max"].raw_response)) == wide


NOT_SCORES: list[Any] = [
    float("nan"),
    float("inf"),
    -float("inf"),
    2.0,
    1.0000001,
    -0.5,
    -2,
    True,
    "0.9",
    [],
    {},
]
REFUSED: list[tuple[str, bytes]] = [
    ("point_not_object", b"null"),
    ("point_not_object", b"[]"),
    ("point_not_json", b'{"question": "a"'),
    ("point_not_json", b""),
    ("point_not_json", text(CANONICAL) + b"{}"),
    ("point_not_json", b'{"question": "' + b"a" * 1_100_000),
    ("point_not_utf8", text(CANONICAL).replace(b"what", b"wh\xff")),
    ("point_not_utf8", text(CANONICAL).replace(b'"a": [1]', b'"a": "\xed\xa0\x80"')),
    ("point_not_utf8", text(CANONICAL).replace(b"what", rb"wh\ud800")),
    ("point_too_deep", text(CANONICAL, responses=response(raw_response={"a": nested(29)}))),
    ("point_too_deep", text(CANONICAL, messages=nested(40))),
    ("point_too_deep", b'{"question": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ("point_too_deep", b'{"cost": NaN, "question": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ("point_too_large", text(CANONICAL, question="a" * MAX_POINT_BYTES)),
    ("key_duplicate", text(CANONICAL, Question="again")),
    ("question_missing", text({"responses": {}})),
    ("question_empty", text(CANONICAL, question="")),
    ("question_empty", text(CANONICAL, question=" \n\u3000")),
    ("question_too_long", text(CANONICAL, question="问" * 21_846)),
    ("question_invalid", text(CANONICAL, question=5)),
    ("responses_missing", text({"question": "a"})),
    ("responses_invalid", text(CANONICAL, responses=[])),
    ("responses_invalid", text(CANONICAL, responses={f"m{at}": {"model": f"m{at}"} for at in range(257)})),
    ("response_invalid", text(CANONICAL, responses={"m": None})),
    ("response_invalid", text(CANONICAL, responses=response(answer=5))),
    ("response_invalid", text(CANONICAL, responses=response(latency_ms=-1))),
    ("response_invalid", text(CANONICAL, responses=response(finish_reason=5))),
    ("field_invalid", text(CANONICAL, score_reasons=["timeout"])),
    ("response_invalid", text(CANONICAL, responses=response(raw_response=[1]))),
    ("response_invalid", text(CANONICAL, responses=response(raw_response={"a": float("nan")}))),
    ("scores_invalid", text(CANONICAL, scores=[1])),
    ("scores_invalid", text(CANONICAL, scores={f"m{at}": 0.5 for at in range(257)})),
    *[("score_invalid", text(CANONICAL, scores={"qwen-max": score})) for score in NOT_SCORES],
    *[("score_invalid", text(GATEWAY, Scores={"qwen-max": score})) for score in NOT_SCORES],
    ("score_invalid", text(CANONICAL).replace(b"0.5", b"1e999")),
    ("timestamp_invalid", text(CANONICAL, timestamp=-1)),
    ("timestamp_invalid", text(CANONICAL, timestamp=4_102_444_801)),
    ("timestamp_invalid", text(CANONICAL, timestamp="yesterday")),
    ("timestamp_invalid", text(CANONICAL, timestamp="0001-01-02T00:00:00Z")),
    ("timestamp_invalid", text(CANONICAL, timestamp=10**400)),
    ("id_invalid", text(CANONICAL, id=5)),
    ("id_invalid", text(CANONICAL, id="i" * 129)),
    ("field_invalid", text(CANONICAL, tenant=5)),
    ("field_invalid", text(CANONICAL, asked={"m": 1.5})),
    ("field_invalid", text(CANONICAL, asked={"m": None})),
    ("field_invalid", text(CANONICAL, asked=[0.5])),
    ("field_invalid", text(CANONICAL, score_reasons={"m": 5})),
    ("field_invalid", text(CANONICAL, score_spreads={"m": True})),
    ("field_invalid", text(CANONICAL, asked={f"m{at}": 0.5 for at in range(257)})),
    ("field_invalid", text(CANONICAL, score_reasons={f"m{at}": "a" for at in range(257)})),
    ("field_invalid", text(CANONICAL, messages={})),
]


@pytest.mark.parametrize(("code", "raw"), REFUSED)
def test_what_is_wrong_has_a_code(code: str, raw: bytes) -> None:
    with pytest.raises(PointError) as caught:
        decode_point(raw)
    assert caught.value.code == code
    assert caught.value.message


def test_every_code_has_a_case() -> None:
    assert {code for code, _ in REFUSED} == set(POINT_CODES)


def test_the_message_names_the_model() -> None:
    with pytest.raises(PointError, match=r"score of 'qwen-max' is NaN, not a finite number"):
        decode_point(text(CANONICAL, scores={"qwen-max": float("nan")}))
