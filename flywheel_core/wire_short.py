"""The short way from JSON text to data points: one decoding pass in C for texts that already have a known shape.

Three shapes are known: the canonical one, the canonical one without id, and that of the reference gateway (Go names).
Whatever has another shape, or breaks a rule that types do not express, is left to `flywheel_core/wire_fields.py`.
"""

from typing import Annotated, Any, Generic, TypeVar

import msgspec
import polars as pl
from msgspec import Meta

from flywheel_core.records import MAX_TIMESTAMP, NULL, DataPoint, Response, content_id
from flywheel_core.wire_fields import error_text, go_latency, question_code
from flywheel_core.wire_values import MAX_DEPTH, depth_of

_RAW_DEPTH = MAX_DEPTH - 3
"""How deep JSON text inside a response may be: it stands on the fourth level of the data point."""

_LARGE = 8_192
"""Bytes from which polars checks UTF-8 faster than Python: five times so at 200 KB."""

_Point = TypeVar("_Point")
_ANY = msgspec.json.Decoder()


class _WithoutId(DataPoint, kw_only=True):
    """The canonical point, its id left out."""

    id: str = ""


class _GoResponse(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, gc=False):
    model: str
    answer: str
    latency: Annotated[int, Meta(ge=0)]
    error: msgspec.Raw = NULL
    raw_response: msgspec.Raw = NULL


class _GoPoint(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    question: str
    responses: dict[str, _GoResponse]
    scores: dict[str, Annotated[float, Meta(ge=-1.0, le=1.0)]] | None
    timestamp: Annotated[int, Meta(ge=0, le=MAX_TIMESTAMP)]
    classification: msgspec.Raw = NULL


class _Envelope(msgspec.Struct, Generic[_Point], forbid_unknown_fields=True):
    data_points: list[_Point]
    count: int | None = None
    timestamp: int | None = None


_ONE: tuple[msgspec.json.Decoder[Any], ...] = tuple(
    msgspec.json.Decoder(shape) for shape in (DataPoint, _WithoutId, _GoPoint)
)
_MANY: tuple[msgspec.json.Decoder[Any], ...] = tuple(
    msgspec.json.Decoder(shape)
    for shape in (_Envelope[DataPoint], _Envelope[_WithoutId], _Envelope[_GoPoint])
)


def decode_one_shortly(raw: bytes) -> DataPoint | None:
    """The data point of a text with a known shape that keeps every rule; None: take the long way."""
    if not _is_utf8(raw):
        return None
    for decoder in _ONE:
        try:
            point = decoder.decode(raw)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            continue
        return _canonical(point)
    return None


def decode_batch_shortly(body: bytes) -> list[DataPoint] | None:
    """The data points of `{"data_points": [...]}` when every one takes the short way; None: judge each by itself."""
    if not _is_utf8(body):
        return None
    for decoder in _MANY:
        try:
            found = decoder.decode(body).data_points
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            continue
        points = []
        for item in found:
            point = _canonical(item)
            if point is None:
                return None
            points.append(point)
        return points
    return None


def _is_utf8(text: bytes) -> bool:
    """Whether all of a text is UTF-8; the decoder itself does not look into JSON text that is kept as it came."""
    if text.isascii():
        return True
    try:
        if len(text) < _LARGE:
            text.decode()
        else:
            pl.Series([text], dtype=pl.Binary).cast(pl.String)
    except (UnicodeDecodeError, pl.exceptions.PolarsError):
        return False
    return True


def _canonical(point: Any) -> DataPoint | None:
    if isinstance(point, _GoPoint):
        return _from_go(point)
    if question_code(point.question) or not (_is_plain(point.classification) and _is_plain(point.messages)):
        return None
    for model, response in point.responses.items():
        if response.model != model or not (_is_plain(response.usage) and _is_plain(response.raw_response)):
            return None
    if isinstance(point, _WithoutId):
        identity = content_id(point.question, point.timestamp, point.responses)
        return DataPoint(identity, *msgspec.structs.astuple(point)[:-1])
    found: DataPoint = point
    return found


def _from_go(point: _GoPoint) -> DataPoint | None:
    if question_code(point.question) or not _is_plain(point.classification):
        return None
    responses = {}
    for model, response in point.responses.items():
        if response.model != model or not (_is_plain(response.error) and _is_plain(response.raw_response)):
            return None
        failure = None if response.error is NULL else error_text(_ANY.decode(response.error))
        responses[model] = Response(
            model,
            response.answer,
            go_latency(response.latency),
            failure,
            raw_response=response.raw_response,
        )
    scores: dict[str, float | None] = {}
    for model, score in (point.scores or {}).items():
        if -1 < score < 0:
            return None
        scores[model] = None if score == -1 else score
    return DataPoint(
        content_id(point.question, point.timestamp, responses),
        point.question,
        responses,
        scores,
        point.timestamp,
        point.classification,
    )


def _is_plain(raw: msgspec.Raw) -> bool:
    """Whether JSON text that is kept as it came is null or an object or list, on one line and not too deep."""
    text = bytes(raw)
    if text == b"null":
        return True
    if text[0] not in b"{[" or b"\n" in text or b"\r" in text:
        return False
    return not _has_many_brackets(text) or depth_of(_ANY.decode(text)) <= _RAW_DEPTH


def _has_many_brackets(text: bytes) -> bool:
    """Whether more brackets open in a text, strings included, than may be nested."""
    count = 0
    for bracket in (b"{", b"["):
        at = text.find(bracket)
        while at >= 0:
            count += 1
            if count > _RAW_DEPTH:
                return True
            at = text.find(bracket, at + 1)
    return False
