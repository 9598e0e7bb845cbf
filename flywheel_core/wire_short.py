"""The fast path from JSON text to data points: one decoding pass in C for text in a known shape.

Three shapes are known: the canonical one, the canonical one without an id, and the reference gateway's (Go names).
Text in any other shape, or that breaks a rule that types cannot express, is left to `flywheel_core/wire_fields.py`.
"""

from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta

from flywheel_core.records import MAX_MODELS, MAX_TIMESTAMP, NULL, DataPoint, Response, content_id
from flywheel_core.wire_fields import error_text, go_latency, question_code
from flywheel_core.wire_undecoded import LARGE, LIST, OBJECT, are_plain, is_utf8

_STRING_OR_NULL = frozenset(b'"n')

_Point = TypeVar("_Point")
_ANY = msgspec.json.Decoder()


class _WithoutId(DataPoint, kw_only=True):
    """The canonical point with its id missing or empty."""

    id: Annotated[str, Meta(max_length=0)] = ""


class _KeptResponse(Response):
    """A response whose answer stays undecoded JSON text, because nothing reads it on the way to disk."""

    answer: msgspec.Raw = NULL  # type: ignore[assignment] # encodes to the same as the string


class _KeptPoint(DataPoint):
    """The canonical point with undecoded answers, on its way to disk."""

    responses: Annotated[dict[str, _KeptResponse], Meta(max_length=MAX_MODELS)]  # type: ignore[assignment] # encodes to the same


class _GoResponse(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, gc=False):
    model: str
    answer: str
    latency: Annotated[int, Meta(ge=0)]
    error: msgspec.Raw = NULL
    raw_response: msgspec.Raw = NULL


class _GoPoint(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    question: str
    responses: Annotated[dict[str, _GoResponse], Meta(max_length=MAX_MODELS)]
    scores: Annotated[dict[str, Annotated[float, Meta(ge=-1.0, le=1.0)]], Meta(max_length=MAX_MODELS)] | None
    timestamp: Annotated[int, Meta(ge=0, le=MAX_TIMESTAMP)]
    classification: msgspec.Raw = NULL


class _Anything(msgspec.Struct):
    """Any object; none of its fields is kept."""


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
_OBJECTS = msgspec.json.Decoder(_Envelope[_Anything])
_TEXTS = msgspec.json.Decoder(_Envelope[msgspec.Raw])
_MANY_LARGE: tuple[msgspec.json.Decoder[Any], ...] = (msgspec.json.Decoder(_Envelope[_KeptPoint]), *_MANY[1:])


def decode_one_shortly(raw: bytes) -> DataPoint | None:
    """Return the data point of a text in a known shape that breaks no rule; None means: use `decode_fields`."""
    if not is_utf8(raw):
        return None
    for decoder in _ONE:
        try:
            point = decoder.decode(raw)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            continue
        found = _canonical(point)
        return found if found is not None and _texts_are_plain([found]) else None
    return None


def decode_batch_shortly(body: bytes) -> list[DataPoint] | None:
    """Return the points of `{"data_points": [...]}` if all can take the fast path; None means: judge each on its own.

    The points may only be encoded, for example by `encode_point`: an answer may still be undecoded JSON text.
    """
    if not is_utf8(body):
        return None
    for decoder in _MANY if len(body) < LARGE else _MANY_LARGE:
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
        return points if _texts_are_plain(points) else None
    return None


def cut_batch_shortly(body: bytes) -> list[memoryview] | None:
    """Return the texts of the points of `{"data_points": [...]}`, as views, when all are objects.

    None means: use `split_batch`.
    """
    try:
        _OBJECTS.decode(body)  # accepts only objects, so few braces mean few points
        return [memoryview(text) for text in _TEXTS.decode(body).data_points]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def _canonical(point: Any) -> DataPoint | None:
    """Return the canonical form of a point in a known shape; None when a rule is broken.

    Undecoded JSON texts are not checked here: see `_texts_are_plain`.
    """
    if question_code(point.question):
        return None
    if isinstance(point, _GoPoint):
        return _from_go(point)
    for model, response in point.responses.items():
        if response.model != model:
            return None
    if isinstance(point, _WithoutId):
        identity = content_id(point.question, point.timestamp, point.responses)
        return DataPoint(identity, *msgspec.structs.astuple(point)[:-1])
    found: DataPoint = point
    return found


def _from_go(point: _GoPoint) -> DataPoint | None:
    responses = {}
    for model, response in point.responses.items():
        failure = None if bytes(response.error) == b"null" else error_text(_ANY.decode(response.error))
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


def _texts_are_plain(points: list[DataPoint]) -> bool:
    """Return whether every undecoded JSON text has the right type, is on one line and is not nested too deep."""
    responses: list[Response] = []
    objects: list[msgspec.Raw] = []
    lists: list[msgspec.Raw] = []
    for point in points:
        responses += point.responses.values()
        if point.classification is not NULL:
            objects.append(point.classification)
        if point.messages is not NULL:
            lists.append(point.messages)
    objects += [response.raw_response for response in responses if response.raw_response is not NULL]
    objects += [response.usage for response in responses if response.usage is not NULL]
    if points and isinstance(points[0], _KeptPoint):
        first_bytes = {memoryview(response.answer)[0] for response in responses}  # type: ignore[arg-type] # kept as text
        if not first_bytes <= _STRING_OR_NULL:
            return False
    return (not objects or are_plain(objects, OBJECT)) and (not lists or are_plain(lists, LIST))
