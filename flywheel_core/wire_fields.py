"""Decodes a data point field by field: accepts any spelling of the names and says what is wrong.

Names may be CamelCase, camelCase or snake_case; unknown ones are ignored, as Go's decoder does.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from flywheel_core.errors import PointError
from flywheel_core.records import MAX_ID_CHARS, MAX_TIMESTAMP, SCHEMA_VERSION, DataPoint, Response, content_id
from flywheel_core.wire_json import parse_json
from flywheel_core.wire_values import (
    MAX_DEPTH,
    depth_of,
    few_models,
    kind_of,
    number,
    raw_json,
    share,
    shares,
    text_field,
    texts,
)

MAX_QUESTION_BYTES = 64 * 1024
MAX_ERROR_CHARS = 2_000
NANOSECOND_LATENCY = 10_000_000
"""A `latency` of at least this is a Go duration in nanoseconds: as milliseconds it would be 2.8 hours.

A `latency_ms` is always in milliseconds.
"""
NO_TIME = "0001-01-01T00:00:00Z"
"""Go's zero time, which it writes for a time that was never set; it counts as no timestamp."""
NO_TIME_SECONDS = -62_135_596_800
"""`NO_TIME` in unix seconds."""

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_POINT_FIELDS = frozenset(DataPoint.__struct_fields__)
_RESPONSE_FIELDS = frozenset(Response.__struct_fields__) | {"latency"}


def decode_fields(raw: bytes, now: int | None = None) -> DataPoint:
    """Return the data point of one JSON text, whatever the spelling of its names.

    `now` is the timestamp, in unix seconds, of a point without any time; the current time unless given. Raises
    PointError, naming the field and what it holds, when the text is not an acceptable data point.
    """
    value = parse_json(raw)
    if not isinstance(value, dict):
        raise PointError("point_not_object", f"the data point is {kind_of(value)}, not an object")
    if depth_of(value) > MAX_DEPTH:
        raise PointError("point_too_deep")
    fields = _snake_keys(value, _POINT_FIELDS, "the data point")
    question = _question(fields)
    responses = _responses(fields)
    received_at = number(fields.get("received_at"), "received_at", "field_invalid")
    event_time = _timestamp(fields.get("timestamp"))
    timestamp = _timestamp(received_at) if event_time is None else event_time
    if timestamp is None:
        timestamp = int(datetime.now(UTC).timestamp()) if now is None else now
    return DataPoint(
        id=_identity(fields.get("id")) or content_id(question, event_time or 0, responses),
        question=question,
        responses=responses,
        scores=_scores(fields),
        timestamp=timestamp,
        classification=raw_json(fields.get("classification"), dict, "classification"),
        messages=raw_json(fields.get("messages"), list, "messages"),
        prompt_rule=text_field(fields, "prompt_rule"),
        decision_id=text_field(fields, "decision_id"),
        served_model=text_field(fields, "served_model"),
        mode=text_field(fields, "mode"),
        sampling_rate=share(fields.get("sampling_rate"), "the sampling_rate"),
        asked=shares(fields.get("asked"), "asked", "the probability of asking"),
        score_reasons=texts(fields.get("score_reasons"), "score_reasons"),
        score_spreads=shares(fields.get("score_spreads"), "score_spreads", "the score spread of"),
        tenant=text_field(fields, "tenant"),
        user=text_field(fields, "user"),
        source=text_field(fields, "source"),
        received_at=received_at,
        schema_version=_schema_version(fields.get("schema_version")),
    )


def question_code(question: str) -> str | None:
    """Return the code of what is wrong with a question's text, or None when nothing is."""
    if not question or question.isspace():
        return "question_empty"
    if len(question) * 4 > MAX_QUESTION_BYTES and len(question.encode()) > MAX_QUESTION_BYTES:
        return "question_too_long"
    return None


def error_text(value: Any) -> str | None:
    """Return an error value as text of at most `MAX_ERROR_CHARS`, or None for null.

    Any other value means that the call failed, even {}: that is how Go serialises most errors.
    """
    if value is None:
        return None
    text = value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()
    return text[:MAX_ERROR_CHARS]


def go_latency(value: float) -> int:
    """Return a latency of the reference gateway in ms; `value` is in ms already, or a Go duration in ns."""
    return round(value / 1e6) if value >= NANOSECOND_LATENCY else round(value)


def snake_case(name: str) -> str:
    """Return the name of a field in snake_case, whatever its spelling; long names are no fields and stay as they are."""
    return _snake(name) if len(name) <= 64 else name


@lru_cache(maxsize=1_024)
def _snake(name: str) -> str:
    return _WORD.sub("_", name).lower()


def _snake_keys(value: dict[str, Any], known: frozenset[str], where: str) -> dict[str, Any]:
    """Return the known fields of `value` under their snake_case names. Raises PointError when one occurs twice."""
    fields: dict[str, Any] = {}
    for key, field in value.items():
        name = snake_case(key)
        if name not in known:
            continue
        if name in fields:
            raise PointError(
                "key_duplicate", f"{where} has the field {name} twice, the second time as {key!r}"
            )
        fields[name] = field
    return fields


def _question(fields: dict[str, Any]) -> str:
    question = fields.get("question")
    if question is None:
        raise PointError("question_missing")
    if not isinstance(question, str):
        raise PointError("question_invalid", f"the question is {kind_of(question)}, not a string")
    code = question_code(question)
    if code:
        raise PointError(code)
    return question


def _responses(fields: dict[str, Any]) -> dict[str, Response]:
    value = fields.get("responses")
    if value is None:
        raise PointError("responses_missing")
    if not isinstance(value, dict):
        raise PointError("responses_invalid", f"responses is {kind_of(value)}, not an object")
    named = few_models(value, "responses", "responses_invalid")
    return {model: _response(model, response) for model, response in named.items()}


def _response(model: str, value: Any) -> Response:
    where = f"the response of {model!r}"
    if not isinstance(value, dict):
        raise PointError("response_invalid", f"{where} is {kind_of(value)}, not an object")
    fields = _snake_keys(value, _RESPONSE_FIELDS, where)
    answer = fields.get("answer")
    if answer is not None and not isinstance(answer, str):
        raise PointError(
            "response_invalid", f"the answer of {model!r} is {kind_of(answer)}, not a string or null"
        )
    finish_reason = fields.get("finish_reason")
    if finish_reason is not None and not isinstance(finish_reason, str):
        raise PointError("response_invalid", f"the finish_reason of {model!r} is {kind_of(finish_reason)}")
    cost = number(fields.get("cost"), f"the cost of {model!r}", "response_invalid")
    if cost is not None and cost < 0:
        raise PointError("response_invalid", f"the cost of {model!r} is {cost}, below 0")
    return Response(
        model=model,
        answer=answer,
        latency_ms=_latency(model, fields),
        error=error_text(fields.get("error")),
        finish_reason=finish_reason,
        usage=raw_json(fields.get("usage"), dict, f"the usage of {model!r}", "response_invalid"),
        cost=cost,
        raw_response=raw_json(
            fields.get("raw_response"), dict, f"the raw_response of {model!r}", "response_invalid"
        ),
    )


def _latency(model: str, fields: dict[str, Any]) -> int | None:
    from_go = fields.get("latency_ms") is None
    value = number(
        fields.get("latency") if from_go else fields["latency_ms"],
        f"the latency of {model!r}",
        "response_invalid",
    )
    if value is None:
        return None
    if value < 0:
        raise PointError("response_invalid", f"the latency of {model!r} is {value}, below 0")
    return go_latency(value) if from_go else round(value)


def _scores(fields: dict[str, Any]) -> dict[str, float | None]:
    value = fields.get("scores")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise PointError("scores_invalid", f"scores is {kind_of(value)}, not an object")
    named = few_models(value, "scores", "scores_invalid")
    return {model: _score(model, score) for model, score in named.items()}


def _score(model: str, value: Any) -> float | None:
    score = number(value, f"the score of {model!r}", "score_invalid")
    if score is None or score == -1:
        return None
    if not 0.0 <= score <= 1.0:
        raise PointError(
            "score_invalid", f"the score of {model!r} is {score}, not in 0..1 (or -1 for no score)"
        )
    return score


def _schema_version(value: Any) -> int:
    return value if type(value) is int else SCHEMA_VERSION


def _timestamp(value: Any) -> int | None:
    if value in (NO_TIME, NO_TIME_SECONDS):
        return None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise PointError(
                "timestamp_invalid", f"the timestamp {value[:40]!r} is not an RFC 3339 time"
            ) from None
        value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    seconds = number(value, "the timestamp", "timestamp_invalid")
    if seconds is None:
        return None
    if not 0 <= seconds <= MAX_TIMESTAMP:
        raise PointError("timestamp_invalid", f"the timestamp {seconds:.0f} is not between 1970 and 2100")
    return int(seconds)


def _identity(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_ID_CHARS:
        raise PointError("id_invalid")
    return value
