"""Data points out of raw lines: canonical lines in one look, anything else as the wire's own decoder judges it.

The short way decodes only what tables keep. The rest stays unread JSON text, in which the decoder sees neither bytes that
are no UTF-8 nor how deep it goes, so both are looked at here: UTF-8 for a whole chunk at once, depth by counting brackets.
"""

from datetime import UTC, date, datetime
from types import GenericAlias
from typing import Annotated, Any, get_type_hints

import msgspec
import pyarrow as pa

from flywheel_core.records import DataPoint, Response
from flywheel_core.wire import MAX_POINT_BYTES, decode_point
from flywheel_core.wire_fields import MAX_ERROR_CHARS, question_code
from flywheel_core.wire_values import MAX_DEPTH, depth_of

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_TEXT_DEPTH = MAX_DEPTH - 3
"""How deep unread JSON text may be: it stands on the fourth level of a data point at most."""

_ANY = msgspec.json.Decoder()
_NULL = b"null"


class PointReader:
    """Reads the lines of one chunk of a raw file of `day`.

    answers: whether the text of answers is wanted; without, only whether there is one is known. The points are
    DataPoints, or like them but without the parts that no table keeps.
    """

    def __init__(self, data: bytes, day: date, answers: bool = True) -> None:
        self._utf8 = _is_utf8(data)
        self._decoder = _WITH_ANSWERS if answers else _WITHOUT_ANSWERS
        self._answers = answers
        self._midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())

    def read(self, line: bytes | memoryview) -> Any:
        """The data point of one line, which is part of the chunk.

        Accepts exactly what `decode_point` accepts. A point without any time is taken as of the day's first second,
        so that the same line gives the same row whenever it is read. Raises PointError with one of `POINT_CODES`.
        """
        if len(line) <= MAX_POINT_BYTES and (self._utf8 or _is_utf8(line)):
            try:
                point = self._decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                pass
            else:
                if self._keeps_rules(point):
                    return point
        return decode_point(bytes(line).removeprefix(BYTE_ORDER_MARK), now=self._midnight)

    def _keeps_rules(self, point: Any) -> bool:
        """Whether a decoded point keeps what types do not express; lets go of what no table keeps."""
        if question_code(point.question) is not None or not _is_shallow(point.messages, b"["):
            return False
        point.messages = None
        for model, response in point.responses.items():
            if response.model != model or not _is_shallow(response.raw_response, b"{"):
                return False
            response.raw_response = None
            if not self._answers and not _stand_in(response):
                return False
        return True


def free_part(value: Any) -> Any:
    """What a free part such as `classification` holds, whichever way its point was read."""
    return _ANY.decode(value) if isinstance(value, msgspec.Raw) else value


def _is_utf8(data: bytes | memoryview) -> bool:
    text = pa.py_buffer(data)
    ends = pa.array([0, len(data)], pa.int32()).buffers()[1]
    try:
        pa.StringArray.from_buffers(1, ends, text).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _is_shallow(raw: msgspec.Raw, opener: bytes) -> bool:
    """Whether JSON text is null, or begins with `opener` and is surely not too deep."""
    text = bytes(raw)
    if text == _NULL:
        return True
    if text[:1] != opener:
        return False
    # `replace` jumps from hit to hit, where `count` looks at each byte
    openers = 2 * len(text) - len(text.replace(b"{", b"")) - len(text.replace(b"[", b""))
    return openers <= _TEXT_DEPTH or depth_of(_ANY.decode(text)) <= _TEXT_DEPTH


def _stand_in(response: Any) -> bool:
    """Put the least in place of an answer's JSON text that tells an empty one from others; false: it is no string."""
    text = bytes(response.answer)
    if text == _NULL:
        response.answer = None
    elif text[:1] != b'"':
        return False
    elif text[1] in b'" \\' or text[1] >= 0x80:  # it may be white space, plain, escaped or beyond ASCII
        response.answer = _ANY.decode(text)
    else:
        response.answer = "."
    return True


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
            null = msgspec.Raw(_NULL) if kind is msgspec.Raw else None
            fields.append((field.name, kind, null if field.name in types else field.default))
    return msgspec.defstruct(record.__name__, fields, forbid_unknown_fields=True, gc=False)


_WITH_ANSWERS = _decoder()
_WITHOUT_ANSWERS = _decoder(answer=msgspec.Raw)
