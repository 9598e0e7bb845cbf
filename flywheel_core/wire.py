"""From the wire to a data point: the one decoder of the collector and of ingest.

On the wire names may be CamelCase (Go's encoder without tags), camelCase or snake_case. A text that already has the
canonical shape takes a short way; everything else is taken apart field by field, so that what is wrong can be said.
"""

import math
import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from flywheel_core.errors import PointError
from flywheel_core.records import SCHEMA_VERSION, DataPoint, Response, content_id
from flywheel_core.wire_values import (
    MAX_DEPTH,
    depth_of,
    kind_of,
    number,
    raw_json,
    share,
    shares,
    text_field,
    texts,
)

MAX_QUESTION_BYTES = 64 * 1024
MAX_ID_CHARS = 128
MAX_ERROR_CHARS = 2_000
MAX_TIMESTAMP = 4_102_444_800
"""2100-01-01 UTC: no event is later."""
NANOSECOND_LATENCY = 10_000_000
"""A CamelCase latency from here on is a Go duration in nanoseconds, not milliseconds (2.8 hours)."""

_CANONICAL = msgspec.json.Decoder(DataPoint)
_ANY = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_POINT_FIELDS = frozenset(DataPoint.__struct_fields__)
_RESPONSE_FIELDS = frozenset(Response.__struct_fields__) | {"latency"}


def decode_point(raw: bytes) -> DataPoint:
    """The data point that one JSON text holds, checked and canonical.

    Raises PointError with one of `POINT_CODES`.
    """
    try:
        point = _CANONICAL.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _decode_loosely(raw)
    if not _is_plain(point):
        return _decode_loosely(raw)
    return point


def _is_plain(point: DataPoint) -> bool:
    """Whether a point that has the canonical shape also keeps every rule that types do not express."""
    return (
        0 < len(point.id) <= MAX_ID_CHARS
        and _question_code(point.question) is None
        and 0 <= point.timestamp <= MAX_TIMESTAMP
        and all(score is None or 0.0 <= score <= 1.0 for score in point.scores.values())
        and all(_plain_response(name, response) for name, response in point.responses.items())
        and _plain_json(point.classification)
        and _plain_json(point.messages)
        and (point.sampling_rate is None or 0.0 <= point.sampling_rate <= 1.0)
        and _are_shares(point.asked)
        and _are_shares(point.score_spreads)
    )


def _are_shares(shares: dict[str, float] | None) -> bool:
    return shares is None or all(0.0 <= share <= 1.0 for share in shares.values())


def _plain_response(name: str, response: Response) -> bool:
    return (
        response.model == name
        and (response.latency_ms is None or response.latency_ms >= 0)
        and (response.cost is None or 0.0 <= response.cost < math.inf)
        and _plain_json(response.usage)
        and _plain_json(response.raw_response)
    )


def _plain_json(raw: msgspec.Raw) -> bool:
    """Whether JSON text kept as it came is surely UTF-8, on one line and not too deep; false sends it the long way."""
    text = bytes(raw)
    if text == b"null":
        return True
    if b"\n" in text or b"\r" in text or _openers(text) >= MAX_DEPTH - 3:
        return False
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            return False
    return True


def _openers(text: bytes) -> int:
    """How many brackets open in `text`, strings included, at most MAX_DEPTH: an upper bound of its depth."""
    count = 0
    for bracket in (b"{", b"["):
        at = text.find(bracket)
        while at >= 0 and count < MAX_DEPTH:
            count += 1
            at = text.find(bracket, at + 1)
    return count


def _question_code(question: str) -> str | None:
    if not question or question.isspace():
        return "question_empty"
    if len(question) * 4 > MAX_QUESTION_BYTES and len(question.encode()) > MAX_QUESTION_BYTES:
        return "question_too_long"
    return None


def _decode_loosely(raw: bytes) -> DataPoint:
    """Take any spelling of the names, say exactly what is wrong, and give the canonical form."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise PointError("point_not_utf8", f"byte {error.start} of the data point is not UTF-8") from None
    try:
        value = _ANY.decode(text)
    except RecursionError:
        raise PointError("point_too_deep") from None
    except msgspec.MsgspecError as error:
        raise PointError("point_not_json", f"the data point is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise PointError("point_not_object", f"the data point is {kind_of(value)}, not an object")
    if depth_of(value) > MAX_DEPTH:
        raise PointError("point_too_deep")
    fields = _snake_keys(value, _POINT_FIELDS, "the data point")
    question = _question(fields)
    responses = _responses(fields)
    timestamp = _timestamp(fields.get("timestamp"))
    if timestamp is None:
        received = fields.get("received_at")
        timestamp = int(received) if isinstance(received, int | float) else int(datetime.now(UTC).timestamp())
    return DataPoint(
        id=_identity(fields.get("id")) or content_id(question, timestamp, responses),
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
        received_at=number(fields.get("received_at"), "received_at", "field_invalid"),
        schema_version=SCHEMA_VERSION,
    )


def _snake_keys(value: dict[str, Any], known: frozenset[str], where: str) -> dict[str, Any]:
    """The known fields of `value` under their snake_case names; others are dropped as Go's decoder would."""
    fields: dict[str, Any] = {}
    for key, field in value.items():
        name = _WORD.sub("_", key).lower()
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
    code = _question_code(question)
    if code:
        raise PointError(code)
    return question


def _responses(fields: dict[str, Any]) -> dict[str, Response]:
    value = fields.get("responses")
    if value is None:
        raise PointError("responses_missing")
    if not isinstance(value, dict):
        raise PointError("responses_invalid", f"responses is {kind_of(value)}, not an object")
    return {model: _response(model, response) for model, response in value.items()}


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
        error=_error(fields.get("error")),
        finish_reason=finish_reason,
        usage=raw_json(fields.get("usage"), dict, f"the usage of {model!r}", "response_invalid"),
        cost=cost,
        raw_response=raw_json(
            fields.get("raw_response"), dict, f"the raw_response of {model!r}", "response_invalid"
        ),
    )


def _latency(model: str, fields: dict[str, Any]) -> int | None:
    go_latency = fields.get("latency_ms") is None
    value = number(
        fields.get("latency") if go_latency else fields["latency_ms"],
        f"the latency of {model!r}",
        "response_invalid",
    )
    if value is None:
        return None
    if value < 0:
        raise PointError("response_invalid", f"the latency of {model!r} is {value}, below 0")
    return round(value / 1e6) if go_latency and value >= NANOSECOND_LATENCY else round(value)


def _error(value: Any) -> str | None:
    """Any non-null error means that the call failed; Go serialises most of them as {}."""
    if value is None:
        return None
    text = value if isinstance(value, str) else _ENCODER.encode(value).decode()
    return text[:MAX_ERROR_CHARS]


def _scores(fields: dict[str, Any]) -> dict[str, float | None]:
    value = fields.get("scores")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise PointError("scores_invalid", f"scores is {kind_of(value)}, not an object")
    return {model: _score(model, score) for model, score in value.items()}


def _score(model: str, value: Any) -> float | None:
    score = number(value, f"the score of {model!r}", "score_invalid")
    if score is None or score == -1:
        return None
    if not 0.0 <= score <= 1.0:
        raise PointError(
            "score_invalid", f"the score of {model!r} is {score}, not in 0..1 (or -1 for no score)"
        )
    return score


def _timestamp(value: Any) -> int | None:
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
