"""Decodes a batch, `{"data_points": [...]}`, into accepted and rejected data points, each judged on its own.

When all points can take the fast path, the batch is decoded in one pass. Otherwise the text is cut at the commas of
the list without decoding it, so that a bad point (NaN, invalid UTF-8, unbounded nesting) cannot spoil its neighbours.
A large batch is always cut first and decoded in parts, because decoded points may take four times the memory of
their text.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from flywheel_core.errors import PointError, RequestError
from flywheel_core.records import DataPoint
from flywheel_core.wire import MAX_POINT_BYTES, decode_point
from flywheel_core.wire_short import cut_batch_shortly, decode_batch_shortly

PART_BYTES = MAX_POINT_BYTES
"""Bytes of a batch's text that are decoded at once; a larger data point is not decoded at all."""

MAX_ENVELOPE_BYTES = 64 * 1024
"""Largest envelope (the text of a batch without its data points), in bytes."""

_NO_BATCH = 'the body is not an object with one list of data points: {"data_points": [...]}'

MAX_MESSAGE_CHARS = 500

MAX_TOKENS = 1_000_000
"""Most brackets, braces, commas and strings that a batch may have when its points must be judged one by one."""

_SURELY_FEW_BYTES = 1_048_576
_VALUES_PER_POINT = 64
_LOOK_BACK = 64 * 1024
_NOT_SPACE = re.compile(rb"\S")
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},"]', re.DOTALL)
_OPEN, _CLOSE, _QUOTE, _COMMA = b"[{", b"]}", ord('"'), ord(",")
_LIST = ord("[")
_SEEN = slice(0, 0)
"""Replaces a key that has been checked: an empty slice, which is never the name of the list."""


@dataclass(frozen=True)
class Rejected:
    """A data point that is not acceptable: its index in the batch (from 0), the reason, and its original text.

    The text may be a view, which keeps the whole batch in memory; a copy of a large point would take memory on top.
    """

    index: int
    code: str
    message: str
    raw: bytes | memoryview


class Batch(NamedTuple):
    """The accepted and rejected points of a batch or of a part of one.

    Accepted points may only be encoded, for example by `encode_point`: see `decode_batch_shortly`.
    """

    points: list[DataPoint]
    rejected: list[Rejected]


def decode_parts(body: bytes, max_points: int) -> Iterator[Batch]:
    """Yield the accepted and rejected data points of a batch's JSON text, in order.

    Each part comes from at most `PART_BYTES` of text; a larger data point is a part of its own. Raises RequestError before
    the first part: `body_unreadable` when the envelope cannot be read or the text has more than `MAX_TOKENS`,
    `batch_too_large` when there are more than `max_points` data points.
    """
    few = _has_few_values(body, max_points)
    if len(body) > PART_BYTES:
        pieces = cut_batch_shortly(body) if few else None
        if pieces is None:
            pieces = split_batch(body, max_points)
        elif len(pieces) > max_points:
            raise _too_large(max_points)
        yield from _in_parts(pieces, max_points)
        return
    points = decode_batch_shortly(body) if few else None
    if points is None:
        yield _judge_each(split_batch(body, max_points), 0)
    elif len(points) > max_points:
        raise _too_large(max_points)
    else:
        yield Batch(points, [])


def split_batch(body: bytes, max_points: int) -> list[memoryview]:
    """Return the text of every data point of a batch, in order; a text need not be valid JSON.

    Raises RequestError in the same cases as `decode_parts`.
    """
    first = last = -1
    pieces: list[memoryview] = []
    piece_start = depth = 0
    key: slice | None = None
    for count, match in enumerate(_TOKEN.finditer(body)):
        at, end = match.span()
        mark = body[at]
        if count > MAX_TOKENS:
            raise RequestError("body_unreadable", "the body has too many values; send it in parts")
        if mark in _OPEN:
            depth += 1
            if depth == 2 and mark == _LIST and key is not None:
                if _is_list_name(body, key):
                    # where the name occurs twice, the last list counts, as in JSON readers
                    first, last, pieces, piece_start = end, -1, [], end
                key = _SEEN  # check a name once, however many lists follow it
        elif mark in _CLOSE:
            if depth == 2 and first >= 0 > last:
                last = at
                pieces.append(_stripped(body, piece_start, at))
            depth -= 1
        elif mark == _COMMA:
            if depth == 1:
                key = None
            elif depth == 2 and first >= 0 > last:
                pieces.append(_stripped(body, piece_start, at))
                piece_start = end
                if len(pieces) >= max_points:
                    raise _too_large(max_points)
        elif end - at == 1:
            raise RequestError("body_unreadable", f"the string that begins at byte {at} does not end")
        elif mark == _QUOTE and depth == 1 and key is None:
            key = slice(at, end)
    around = len(body) if first < 0 else len(body) - (last - first) if last >= 0 else first + 1
    if around > MAX_ENVELOPE_BYTES:
        raise RequestError(
            "body_unreadable", _NO_BATCH if first < 0 else "beside its data points the body is too large"
        )
    listed = _has_list(body if first < 0 else body[:first] + body[last:])
    return [] if pieces == [b""] or not listed else pieces


def _in_parts(pieces: Iterable[memoryview], max_points: int) -> Iterator[Batch]:
    group: list[memoryview] = []
    first = size = 0
    for piece in pieces:
        if group and size + len(piece) > PART_BYTES:
            yield _decode_group(group, first, max_points)
            first += len(group)
            group, size = [], 0
        group.append(piece)
        size += len(piece)
    if group:
        yield _decode_group(group, first, max_points)


def _decode_group(group: Sequence[memoryview], first: int, max_points: int) -> Batch:
    """Decode consecutive data points of a batch; `first` is the index of the first one."""
    if len(group[0]) <= MAX_POINT_BYTES:
        text = b"".join((b'{"data_points":[', b",".join(group), b"]}"))
        points = decode_batch_shortly(text) if _has_few_values(text, max_points) else None
        if points is not None:
            return Batch(points, [])
        del text  # free the copy before the points are decoded one by one
    return _judge_each(group, first)


def _judge_each(texts: Sequence[memoryview], first: int) -> Batch:
    points, rejected = [], []
    for index, raw in enumerate(texts, first):
        try:
            points.append(decode_point(raw))
        except PointError as error:
            rejected.append(Rejected(index, error.code, error.message[:MAX_MESSAGE_CHARS], raw))
    return Batch(points, rejected)


def _has_few_values(text: bytes, max_points: int) -> bool:
    """Return whether decoding `text` at once takes bounded memory: it is short, or has few objects and lists.

    Once decoded, an object or list takes far more memory than its text.
    """
    return (
        len(text) <= _SURELY_FEW_BYTES
        or text.count(b"{") + text.count(b"[") <= max_points * _VALUES_PER_POINT
    )


def _stripped(body: bytes, start: int, end: int) -> memoryview:
    """Return body[start:end] without surrounding white space, as a view; only a little of its end is copied."""
    found = _NOT_SPACE.search(body, start, end)
    start = end if found is None else found.start()
    while start < end:
        look = body[max(start, end - _LOOK_BACK) : end]
        kept = len(look.rstrip())
        end -= len(look) - kept
        if kept:
            break
    return memoryview(body)[start:end]


def _has_list(text: bytes) -> bool:
    """Return whether `text`, a batch without its points, has a list of data points and not null in its place.

    Raises RequestError unless it is a JSON object with exactly one such name.
    """
    try:
        envelope: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise RequestError("body_unreadable", f"the body is not JSON: {reason}") from None
    names = [name for name in envelope if _is_name(name)] if isinstance(envelope, dict) else []
    if len(names) != 1 or envelope[names[0]] not in ([], None):
        raise RequestError("body_unreadable", _NO_BATCH)
    return envelope[names[0]] is not None


def _is_list_name(body: bytes, key: slice) -> bool:
    try:
        return 0 < key.stop - key.start <= MAX_ENVELOPE_BYTES and _is_name(json.loads(body[key]))
    except ValueError:
        return False


def _is_name(name: str) -> bool:
    return name.replace("_", "").lower() == "datapoints"


def _too_large(max_points: int) -> RequestError:
    return RequestError("batch_too_large", f"a batch may have {max_points} data points; send it in parts")
