"""The fast path from JSON text to data points: one decoding pass in C for text in a known shape.

Three shapes are known: the canonical one, the canonical one without an id, and the reference gateway's (Go names).
Text in any other shape, or that breaks a rule that types cannot express, is left to `flywheel_core/wire_fields.py`.
"""

import codecs
import itertools
from typing import Annotated, Any, Generic, TypeVar

import msgspec
import numpy as np
import polars as pl
from msgspec import Meta

from flywheel_core.records import MAX_MODELS, MAX_TIMESTAMP, NULL, DataPoint, Response, content_id
from flywheel_core.wire_fields import error_text, go_latency, question_code
from flywheel_core.wire_values import MAX_DEPTH, is_deeper

_RAW_DEPTH = MAX_DEPTH - 3
"""Deepest nesting of undecoded JSON text: inside a response, its outermost object is at the point's fourth level."""

_FEW = 16
"""With more texts than this, numpy counts brackets faster than a loop."""

_OBJECT, _LIST, _NULL = b"{[n"
_STRING_OR_NULL = frozenset(b'"n')

_LARGE = 8_192
"""Size in bytes from which polars checks UTF-8 faster than Python (five times as fast at 200 KB).

From this size on, answers are also best left undecoded.
"""

_VERY_LARGE = 1_048_576
_PIECE = 65_536
"""Texts of at least `_VERY_LARGE` bytes are checked in pieces of `_PIECE` bytes.

Polars would need twice the memory of such a text, and keep it.
"""

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
    if not _is_utf8(raw):
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
    if not _is_utf8(body):
        return None
    for decoder in _MANY if len(body) < _LARGE else _MANY_LARGE:
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


def _is_utf8(text: bytes) -> bool:
    """Return whether a whole text is UTF-8; msgspec does not check the parts that it leaves undecoded."""
    if text.isascii():
        return True
    try:
        if len(text) < _LARGE:
            text.decode()
        elif len(text) >= _VERY_LARGE:
            decoder = codecs.getincrementaldecoder("utf-8")()
            for at in range(0, len(text), _PIECE):
                decoder.decode(text[at : at + _PIECE])
            decoder.decode(b"", final=True)
        else:
            pl.Series([text], dtype=pl.Binary).cast(pl.String)
    except (UnicodeDecodeError, pl.exceptions.PolarsError):
        return False
    return True


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
        if response.model != model:
            return None
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
    return (not objects or _are_plain(objects, _OBJECT)) and (not lists or _are_plain(lists, _LIST))


def _are_plain(texts: list[msgspec.Raw], first: int) -> bool:
    """Return whether each text is null or begins with the byte `first`, is on one line and is not nested too deep.

    A text cannot be nested deeper than its number of opening brackets, so most need no closer look.
    """
    views = [memoryview(text) for text in texts]
    joined = b"".join(views)
    if not {view[0] for view in views} <= {first, _NULL} or b"\n" in joined or b"\r" in joined:
        return False
    if len(texts) <= _FEW:
        if joined.count(b"{") + joined.count(b"[") <= _RAW_DEPTH:
            return True
        pieces = [bytes(view) for view in views]
        counts = [piece.count(b"{") + piece.count(b"[") for piece in pieces]
    else:
        marks = np.frombuffer(joined, np.uint8)
        openers = ((marks | 32) == _OBJECT).nonzero()[0]  # setting this bit turns [ into { and keeps {
        ends = list(itertools.accumulate(map(len, views)))
        before = openers.searchsorted([0, *ends]).tolist()
        counts = [stop - start for start, stop in itertools.pairwise(before)]
    deep = [text for text, count in zip(texts, counts, strict=True) if count > _RAW_DEPTH]
    return not any(is_deeper(bytes(text), _RAW_DEPTH) for text in deep)
