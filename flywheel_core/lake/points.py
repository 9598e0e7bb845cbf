"""Reads data points from raw lines: canonical lines in one pass, all others with the collector's decoder.

Every byte of an accepted line is checked, even in parts that no table keeps. Three ways are tried, the fastest first:

1. canonical lines whose raw responses are chat completions: long texts stay undecoded JSON strings, which cannot contain
   nesting, in a chunk that is known to be UTF-8 as a whole;
2. canonical lines: all parts are decoded, down to a fixed depth of nesting;
3. everything else: `decode_point`, the decoder of the collector.
"""

from datetime import date
from types import GenericAlias
from typing import Any, get_type_hints

import msgspec
import pyarrow as pa

from flywheel_core.errors import PointError
from flywheel_core.lake.layout import first_second
from flywheel_core.records import NULL, SCHEMA_VERSION, DataPoint, Response
from flywheel_core.wire_fields import question_code

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

NO_TIME = -1
"""Timestamp that marks a point without any time where none may be assumed."""

_QUICK_BYTES = 1024 * 1024
"""Longer lines, in bytes, are left to `decode_point`, whose limit on the size of a point is above this."""

_QUICK_DEPTH = 9
"""Deepest nesting of free-form parts that the second way decodes; the wire allows more."""

_QUOTE = ord('"')
_TEXT_OR_NULL = frozenset(b'"n')
_NOT_BLANK = frozenset(range(0x21, 0x7F)) - frozenset(b'"\\')
"""First bytes that show that a JSON string is not blank."""

_ANY = msgspec.json.Decoder()


class PointReader:
    """Reads the lines of `chunk`, a part of a raw file of `day`.

    answers: whether the text of answers is needed; if not, an answer only tells whether it is blank. imported: whether
    `flywheel import` wrote the file, to which it also copies lines that it could not assign to a day.
    """

    def __init__(self, chunk: bytes, day: date, answers: bool = True, imported: bool = False) -> None:
        self._completions = _WITH_COMPLETIONS if answers else _WITHOUT_ANSWERS
        self._answers = answers
        self._quickest = _is_utf8(chunk)
        self._midnight = int(first_second(day))
        self._imported = imported

    def read(self, line: bytes | memoryview) -> Any:
        """Return the data point of one line: a DataPoint, or a similar record without the parts that no table keeps.

        Accepts what `decode_point` accepts. A point without any time gets the first second of the day, so that a
        line gives the same row whenever it is read. In an imported file, a point without any time or of another day is
        not acceptable, and neither is one of a later schema, whose fields may mean something else. Raises PointError, with
        one of `POINT_CODES` or `schema_later`, when the line is not an acceptable data point.
        """
        point = self._read(line)
        if point.schema_version > SCHEMA_VERSION:
            raise PointError(
                "schema_later",
                f"the line has schema {point.schema_version}, this version of Flywheel reads {SCHEMA_VERSION}",
            )
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
                    False  # not a chat completion: the next lines are likely to have the same shape
                )
                return point
        # imported here because it is slow to load, and files of canonical lines never need it
        from flywheel_core.wire import MAX_LINE_BYTES, decode_point

        text = bytes(line).removeprefix(BYTE_ORDER_MARK)
        now = NO_TIME if self._imported else self._midnight
        return decode_point(text, now=now, max_bytes=MAX_LINE_BYTES)


def check_imported(timestamp: int, midnight: int) -> None:
    """Raise PointError when a timestamp is not within the day of an imported file, which begins at `midnight` (unix seconds).

    Such a line is one that import rejected for its time.
    """
    if not midnight <= timestamp < midnight + 86_400:
        raise PointError(
            "timestamp_invalid", "import found no time in it, or one that it moved out of 1970 to 2100"
        )


def free_part(value: Any) -> Any:
    """Return the value of a free-form part such as `classification`, whichever way its point was read."""
    return _ANY.decode(value) if isinstance(value, msgspec.Raw) else value


def _is_utf8(chunk: bytes) -> bool:
    ends = pa.array([0, len(chunk)], pa.int32()).buffers()[1]
    try:
        pa.StringArray.from_buffers(1, ends, pa.py_buffer(chunk)).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _decoded(decoder: Any, line: bytes | memoryview) -> Any:
    """Return the point that a decoder reads from a line; None when the shape or the question is not acceptable."""
    try:
        point = decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return point if question_code(point.question) is None else None


def _finished(point: Any, answers: bool) -> bool:
    """Drop what no table keeps, so that its memory is reused at once; return False when a rule is broken.

    The rules: a response names the model that is its key, and undecoded texts are strings or null.
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
    """Replace an undecoded answer by "." when its first byte shows that it is not blank, else by its decoded text.

    Return False when the answer is neither a string nor null.
    """
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
    """Return a struct type with the fields of `record` in the same order, some of them with other types.

    A field of another type is null by default, unless it is required.
    """
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
    """Return a decoder for canonical lines whose free-form parts have these types."""
    response = _like(Response, usage=free, raw_response=raw_response, **response_types)
    responses: Any = GenericAlias(dict, (str, response))
    return msgspec.json.Decoder(_like(DataPoint, responses=responses, classification=free, messages=listing))


def _canonical() -> Any:
    json: Any = _Scalar
    in_list: Any = _Scalar  # lists directly inside lists are rare; leaving them out keeps the types few
    for _ in range(_QUICK_DEPTH):
        json, in_list = dict[str, json] | list[in_list] | _Scalar, dict[str, json] | _Scalar
    mapping: Any = dict[str, json] | None
    return _decoder(mapping, list[in_list] | None, mapping)


_CANONICAL = _canonical()
_COMPLETION_TYPES: Any = (_Small, list[_Scalar | dict[str, _Scalar]] | None, _Completion | None)
_WITH_COMPLETIONS = _decoder(*_COMPLETION_TYPES)
_WITHOUT_ANSWERS = _decoder(*_COMPLETION_TYPES, answer=msgspec.Raw)
