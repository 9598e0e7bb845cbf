"""Data points out of raw lines: canonical lines in one look, anything else as the wire's own decoder judges it."""

from datetime import UTC, date, datetime
from types import GenericAlias
from typing import Annotated, Any, get_type_hints

import msgspec

from flywheel_core.records import DataPoint, Response
from flywheel_core.wire_fields import MAX_ERROR_CHARS, question_code

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_SHORT_WAY_BYTES = 1024 * 1024
"""Longer lines take the long way, whose bound on the size of a point lies above this."""

_SHORT_WAY_DEPTH = 9
"""Nesting of a point's free parts up to which a line takes the short way; the wire allows more."""

_ANY = msgspec.json.Decoder()


class PointReader:
    """Reads the lines of a raw file of `day`."""

    def __init__(self, day: date) -> None:
        self._midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())

    def read(self, line: bytes | memoryview) -> Any:
        """The data point of one line: a DataPoint, or one like it without the parts that no table keeps.

        Accepts exactly what `decode_point` accepts. A point without any time is taken as of the day's first second,
        so that the same line gives the same row whenever it is read. Raises PointError with one of `POINT_CODES`.
        """
        if len(line) <= _SHORT_WAY_BYTES:
            try:
                point = _SHORT_WAY.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                pass
            else:
                if question_code(point.question) is None and _drop_free_parts(point):
                    return point
        # imported where it is needed: files of canonical lines never need it, and it takes long to load
        from flywheel_core.wire import decode_point

        return decode_point(bytes(line).removeprefix(BYTE_ORDER_MARK), now=self._midnight)


def free_part(value: Any) -> Any:
    """What a free part such as `classification` holds, whichever way its point was read."""
    return _ANY.decode(value) if isinstance(value, msgspec.Raw) else value


def _drop_free_parts(point: Any) -> bool:
    """Let go of what no table keeps, so that memory is used again at once; false: a response has another name."""
    point.messages = None
    for model, response in point.responses.items():
        if response.model != model:
            return False
        response.usage = response.raw_response = None
    return True


def _short_way() -> Any:
    """A decoder for canonical lines that looks at every byte.

    The wire's records keep free parts as unread JSON text, which takes further looks for UTF-8 and depth. With the
    free parts spelt out down to a fixed depth, one look in C does all of it, in less time.
    """
    scalar = str | int | float | bool | None
    json: Any = scalar
    in_list: Any = scalar  # lists right inside lists are rare, and leaving them out keeps the types few
    for _ in range(_SHORT_WAY_DEPTH):
        json, in_list = dict[str, json] | list[in_list] | scalar, dict[str, json] | scalar
    mapping: Any = dict[str, json] | None
    listing: Any = list[in_list] | None
    error = Annotated[str, msgspec.Meta(max_length=MAX_ERROR_CHARS)] | None
    response = _like(Response, error=error, usage=mapping, raw_response=mapping)
    responses: Any = GenericAlias(dict, (str, response))
    return msgspec.json.Decoder(
        _like(DataPoint, responses=responses, classification=mapping, messages=listing)
    )


def _like(record: type[msgspec.Struct], **types: Any) -> Any:
    """A record with the same fields in the same order, some of them of other types, which are null by default."""
    hints = get_type_hints(record, include_extras=True)
    fields: list[Any] = []
    for field in msgspec.structs.fields(record):
        kind = types.get(field.name, hints[field.name])
        if field.required:
            fields.append((field.name, kind))
        else:
            fields.append((field.name, kind, None if field.name in types else field.default))
    return msgspec.defstruct(record.__name__, fields, forbid_unknown_fields=True, gc=False)


_SHORT_WAY = _short_way()
