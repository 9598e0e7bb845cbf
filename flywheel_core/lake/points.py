"""Data points out of raw lines: canonical lines in one look, anything else as the wire's own decoder judges it.

The short way decodes only what tables keep. The rest stays unread JSON text, in which the decoder sees neither bytes that
are no UTF-8 nor how deep it goes. So both are looked at here, for many lines at once.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from types import GenericAlias
from typing import Annotated, Any, get_type_hints

import msgspec
import numpy as np
import pyarrow as pa

from flywheel_core.errors import PointError
from flywheel_core.records import NULL, DataPoint, Response
from flywheel_core.wire_fields import MAX_ERROR_CHARS, question_code
from flywheel_core.wire_values import MAX_DEPTH, depth_of

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_SHORT_WAY_BYTES = 1024 * 1024
"""Longer lines take the long way, whose bound on the size of a point is above this."""

_AT_ONCE_BYTES = 1024 * 1024
"""Raw text whose lines are looked at together: enough to be quick, little enough for the processor's cache."""

_UNREAD_DEPTH = MAX_DEPTH - 3
"""How deep unread JSON text may be: it stands on the fourth level of a data point at most."""

_OBJECT, _LIST, _STRING, _NULL, _NEWLINE = b'{["n\n'
_NOT_BLANK = frozenset(range(0x21, 0x80)) - frozenset(b'"\\')
"""First characters of a JSON string that is surely not white space."""

_ANY = msgspec.json.Decoder()


def read_points(lines: Iterable[bytes | memoryview], day: date, answers: bool = True) -> Iterator[Any]:
    """What each line of a raw file of `day` holds, in order: a data point, or the PointError that says why not.

    A point is a DataPoint, or like one but without the parts that no table keeps; without `answers` only whether an
    answer has text is known. Accepted is exactly what `decode_point` accepts. A point without any time is taken as of
    the day's first second, so that the same line gives the same row whenever it is read.
    """
    decoder = _WITH_ANSWERS if answers else _WITHOUT_ANSWERS
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    for some in _some_at_once(lines):
        points = _read_shortly(some, decoder, answers)
        for line, point in zip(some, points, strict=True):
            yield _read_slowly(bytes(line), midnight) if point is None else point


def free_part(value: Any) -> Any:
    """What a free part such as `classification` holds, whichever way its point was read."""
    return _ANY.decode(value) if isinstance(value, msgspec.Raw) else value


def _some_at_once(lines: Iterable[bytes | memoryview]) -> Iterator[list[bytes | memoryview]]:
    some: list[bytes | memoryview] = []
    size = 0
    for line in lines:
        some.append(line)
        size += len(line)
        if size >= _AT_ONCE_BYTES:
            yield some
            some, size = [], 0
    yield some


def _read_slowly(line: bytes, midnight: int) -> Any:
    # imported where it is needed: a file of canonical lines never needs it, and it takes long to load
    from flywheel_core.wire import decode_point

    try:
        return decode_point(line.removeprefix(BYTE_ORDER_MARK), now=midnight)
    except PointError as error:
        return error


def _read_shortly(lines: Sequence[bytes | memoryview], decoder: Any, answers: bool) -> list[Any]:
    """The points of canonical lines that keep all rules, None in the place of every other line."""
    all_utf8 = _are_utf8(lines)
    points: list[Any] = []
    for line in lines:
        point = None
        if len(line) <= _SHORT_WAY_BYTES and (all_utf8 or _are_utf8([line])):
            try:
                point = decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                point = None
        points.append(point if point is not None and question_code(point.question) is None else None)
    found = [point for point in points if point is not None]
    objects = [response.raw_response for point in found for response in point.responses.values()]
    if _are_plain(objects, _OBJECT) and _are_plain([point.messages for point in found], _LIST):
        return [point and _finished(point, answers) for point in points]
    return [
        point
        if point is not None
        and _are_plain([response.raw_response for response in point.responses.values()], _OBJECT)
        and _are_plain([point.messages], _LIST)
        and _finished(point, answers)
        else None
        for point in points
    ]


def _are_utf8(lines: Sequence[bytes | memoryview]) -> bool:
    joined = lines[0] if len(lines) == 1 else b"\n".join(lines)
    ends = pa.array([0, len(joined)], pa.int32()).buffers()[1]
    try:
        pa.StringArray.from_buffers(1, ends, pa.py_buffer(joined)).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _are_plain(texts: list[Any], opener: int) -> bool:
    """Whether each unread JSON text is null, or begins with the byte `opener` and is not too deep.

    A text is no deeper than it has opening brackets, so that most need not be looked into.
    """
    texts = [text for text in texts if text is not NULL]
    if not texts:
        return True
    joined = np.frombuffer(b"\n".join(texts), np.uint8)
    ends = np.flatnonzero(joined == _NEWLINE)
    if len(ends) != len(texts) - 1:
        return False
    starts = np.concatenate(([0], ends + 1))
    first = joined[starts]
    if not np.isin(first, (opener, _NULL)).all():
        return False
    openers = np.flatnonzero((joined | 0x20) == _OBJECT)  # the bit makes [ a {, and no other byte in JSON one
    counts = np.diff(np.searchsorted(openers, [0, *ends, len(joined)]))
    deep = np.flatnonzero(counts > _UNREAD_DEPTH)
    return all(depth_of(_ANY.decode(texts[place])) <= _UNREAD_DEPTH for place in deep)


def _finished(point: Any, answers: bool) -> Any:
    """The point without what no table keeps, None when a response has another name than its model."""
    point.messages = None
    for model, response in point.responses.items():
        if response.model != model:
            return None
        response.raw_response = None
        if not answers:
            text = memoryview(response.answer)
            if text[0] == _STRING and text[1] in _NOT_BLANK:
                response.answer = "."
            elif text[0] in (_STRING, _NULL):
                response.answer = _ANY.decode(text)
            else:
                return None
    return point


def _decoder(**response_types: Any) -> Any:
    """A decoder for canonical lines."""
    scalar = str | int | float | bool | None
    small: Any = dict[str, scalar | dict[str, scalar]] | None
    error = Annotated[str, msgspec.Meta(max_length=MAX_ERROR_CHARS)] | None
    response = _like(Response, error=error, usage=small, **response_types)
    responses: Any = GenericAlias(dict, (str, response))
    return msgspec.json.Decoder(_like(DataPoint, responses=responses, classification=small))


def _like(record: type[msgspec.Struct], **types: Any) -> Any:
    """A record with the same fields in the same order, some of them of other types, which are null by default."""
    hints = get_type_hints(record, include_extras=True)
    fields: list[Any] = []
    for field in msgspec.structs.fields(record):
        kind = types.get(field.name, hints[field.name])
        if field.required:
            fields.append((field.name, kind))
        else:
            null = NULL if kind is msgspec.Raw else None
            fields.append((field.name, kind, null if field.name in types else field.default))
    return msgspec.defstruct(record.__name__, fields, forbid_unknown_fields=True, gc=False)


_WITH_ANSWERS = _decoder()
_WITHOUT_ANSWERS = _decoder(answer=msgspec.Raw)
