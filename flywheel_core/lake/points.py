"""Data points out of raw lines: canonical lines in one look, anything else as the wire's own decoder judges it.

Every byte of an accepted line is looked at, also of what no table keeps. Three ways, the quick ones first:

1. canonical lines whose raw responses are chat completions: long texts stay unread JSON strings, in which nothing can be
   nested, in a chunk that is known to be UTF-8 as a whole;
2. canonical lines: all parts are decoded, down to a fixed depth;
3. everything else: `decode_point`, the decoder of the collector.
"""

from datetime import UTC, date, datetime
from types import GenericAlias
from typing import Any, get_type_hints

import msgspec
import pyarrow as pa

from flywheel_core.errors import PointError
from flywheel_core.records import NULL, DataPoint, Response
from flywheel_core.wire_fields import question_code

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

NO_TIME = -1
"""The time of a point without any where none is to be made up."""

_QUICK_BYTES = 1024 * 1024
"""Longer lines are left to `decode_point`, whose bound on the size of a point lies above this."""

_QUICK_DEPTH = 9
"""Nesting of free parts down to which the second way reads; the wire allows more."""

_QUOTE = ord('"')
_TEXT_OR_NULL = frozenset(b'"n')
_NOT_BLANK = frozenset(range(0x21, 0x7F)) - frozenset(b'"\\')
"""First bytes of a JSON string that is surely not white space."""

_ANY = msgspec.json.Decoder()


class PointReader:
    """Reads the lines of `chunk`, which is part of a raw file of `day`.

    answers: whether the text of answers is wanted; without, only whether there is any may be known. imported: whether the
    file is one of `flywheel import`, which carried lines over that it could not place in a day.
    """

    def __init__(self, chunk: bytes, day: date, answers: bool = True, imported: bool = False) -> None:
        self._completions = _WITH_COMPLETIONS if answers else _WITHOUT_ANSWERS
        self._answers = answers
        self._quickest = _is_utf8(chunk)
        self._midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
        self._imported = imported

    def read(self, line: bytes | memoryview) -> Any:
        """The data point of one line: a DataPoint, or one like it without the parts that no table keeps.

        Accepts exactly what `decode_point` accepts. A point without any time is taken as of the day's first second,
        so that the same line gives the same row whenever it is read; in an imported file there is none, nor one of another
        day. Raises PointError with one of `POINT_CODES`.
        """
        point = self._read(line)
        if self._imported:
            check_imported(point.timestamp, self._midnight)
        return point

    def _read(self, line: bytes | memoryview) -> Any:
        if len(line) <= _QUICK_BYTES:
            if self._quickest:
                point = _decoded(self._completions, line)
                if point is not None and _finished(point, self._answers):
                    return point
            point = _decoded(_CANONICAL, line)
            if point is not None and _finished(point, answers=True):
                self._quickest = (
                    False  # other bodies: those of the next lines are likely to have the same shape
                )
                return point
        # imported where it is needed: files of canonical lines never need it, and it takes long to load
        from flywheel_core.wire import MAX_LINE_BYTES, decode_point

        text = bytes(line).removeprefix(BYTE_ORDER_MARK)
        now = NO_TIME if self._imported else self._midnight
        return decode_point(text, now=now, max_bytes=MAX_LINE_BYTES)


def check_imported(timestamp: int, midnight: int) -> None:
    """Raise PointError when a line of an imported file, whose day begins at `midnight`, is one that import rejected for its time."""
    if not midnight <= timestamp < midnight + 86_400:
        raise PointError(
            "timestamp_invalid", "import found no time in it, or one that it moved out of 1970 to 2100"
        )


def free_part(value: Any) -> Any:
    """What a free part such as `classification` holds, whichever way its point was read."""
    return _ANY.decode(value) if isinstance(value, msgspec.Raw) else value


def _is_utf8(chunk: bytes) -> bool:
    ends = pa.array([0, len(chunk)], pa.int32()).buffers()[1]
    try:
        pa.StringArray.from_buffers(1, ends, pa.py_buffer(chunk)).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _decoded(decoder: Any, line: bytes | memoryview) -> Any:
    """What the decoder makes of a line, None if it is not of its shape or its question is not acceptable."""
    try:
        point = decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return point if question_code(point.question) is None else None


def _finished(point: Any, answers: bool) -> bool:
    """Let go of what no table keeps, so that memory is used again at once; false: a rule is broken.

    The rules: a response is of the model that it stands under, and unread texts are strings or null.
    """
    point.messages = None
    for model, response in point.responses.items():
        if response.model != model:
            return False
        body = response.raw_response
        if isinstance(body, _Completion) and body.choices is not None:
            for choice in body.choices:
                message = choice.message
                if message is not None and not (
                    _is_text(message.content) and _is_text(message.reasoning_content)
                ):
                    return False
        response.usage = response.raw_response = None
        if not answers and not _stand_in(response):
            return False
    return True


def _is_text(raw: msgspec.Raw) -> bool:
    return raw is NULL or memoryview(raw)[0] in _TEXT_OR_NULL


def _stand_in(response: Any) -> bool:
    """Put the least in place of an unread answer that tells an empty one from others; false: it is no string."""
    text = memoryview(response.answer)
    if text[0] == _QUOTE and text[1] in _NOT_BLANK:
        response.answer = "."
        return True
    if text[0] not in _TEXT_OR_NULL:
        return False
    response.answer = _ANY.decode(text)
    return True


_Scalar = str | int | float | bool | None
_Small = dict[str, _Scalar | dict[str, _Scalar]] | None


class _Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: str | None = None
    content: msgspec.Raw = NULL
    reasoning_content: msgspec.Raw = NULL
    refusal: str | None = None


class _Choice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    index: int | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    logprobs: _Small = None


class _Completion(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The body of a chat completion."""

    id: str | None = None
    object: str | None = None
    created: int | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Small = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    request_id: str | None = None


def _like(record: type[msgspec.Struct], **types: Any) -> Any:
    """A record with the same fields in the same order, some of them of other types, which are null by default."""
    hints = get_type_hints(record, include_extras=True)
    fields: list[Any] = []
    for field in msgspec.structs.fields(record):
        kind = types.get(field.name, hints[field.name])
        if field.required:
            fields.append((field.name, kind))
        elif field.name not in types:
            fields.append((field.name, kind, field.default))
        else:
            fields.append((field.name, kind, NULL if kind is msgspec.Raw else None))
    return msgspec.defstruct(record.__name__, fields, forbid_unknown_fields=True, gc=False)


def _decoder(free: Any, listing: Any, raw_response: Any, **response_types: Any) -> Any:
    """A decoder for canonical lines whose free parts are of these types."""
    response = _like(Response, usage=free, raw_response=raw_response, **response_types)
    responses: Any = GenericAlias(dict, (str, response))
    return msgspec.json.Decoder(_like(DataPoint, responses=responses, classification=free, messages=listing))


def _canonical() -> Any:
    json: Any = _Scalar
    in_list: Any = _Scalar  # lists right inside lists are rare, and leaving them out keeps the types few
    for _ in range(_QUICK_DEPTH):
        json, in_list = dict[str, json] | list[in_list] | _Scalar, dict[str, json] | _Scalar
    mapping: Any = dict[str, json] | None
    return _decoder(mapping, list[in_list] | None, mapping)


_CANONICAL = _canonical()
_COMPLETION_TYPES: Any = (_Small, list[_Scalar | dict[str, _Scalar]] | None, _Completion | None)
_WITH_COMPLETIONS = _decoder(*_COMPLETION_TYPES)
_WITHOUT_ANSWERS = _decoder(*_COMPLETION_TYPES, answer=msgspec.Raw)
