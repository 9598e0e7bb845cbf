"""A batch on the wire: `{"data_points": [...]}` to accepted data points and rejected ones, each judged alone.

A batch whose points all take the short way is decoded in one pass. Otherwise the text is cut at the commas of the
list, without decoding it: what one point holds (NaN, bad UTF-8, nesting without end) cannot spoil its neighbours.
A large batch is cut first and decoded in parts, because decoded text may take four times the memory it came in.
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
"""How much text of a batch is decoded at once; a data point above it is not decoded at all."""

MAX_ENVELOPE_BYTES = 64 * 1024
"""The largest envelope, the points themselves not counted."""

MAX_MESSAGE_CHARS = 500

MAX_TOKENS = 1_000_000
"""Brackets, commas and strings that a batch may have when its points must be judged one by one."""

_SURELY_FEW_BYTES = 1_048_576
_VALUES_PER_POINT = 64
_LOOK_BACK = 64 * 1024
_NOT_SPACE = re.compile(rb"\S")
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},"]', re.DOTALL)
_OPEN, _CLOSE, _QUOTE, _COMMA = b"[{", b"]}", ord('"'), ord(",")
_LIST = ord("[")
_SEEN = slice(0, 0)
"""In place of a name that was read: that of no list."""


@dataclass(frozen=True)
class Rejected:
    """A data point that is not acceptable: its place in the batch (from 0), why, and its text as it came.

    A view keeps the whole batch's text in memory; a copy of a large point would come on top of it.
    """

    index: int
    code: str
    message: str
    raw: bytes | memoryview


class Batch(NamedTuple):
    """What a batch, or a part of one, held; the points are good for `encode_point` and its like, see `decode_batch_shortly`."""

    points: list[DataPoint]
    rejected: list[Rejected]


def decode_parts(body: bytes, max_points: int) -> Iterator[Batch]:
    """The data points of a batch's JSON text, accepted and rejected, in order; in parts of at most `PART_BYTES` of text.

    Raises RequestError before the first part: `body_unreadable` when the envelope cannot be read, `batch_too_large` beyond
    `max_points`.
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
    """The text of every data point of a batch, in order; they need not be valid JSON. Raises as `decode_parts`."""
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
            if depth == 2 and mark == _LIST and first < 0 and key is not None:
                if _is_list_name(body, key):
                    first = piece_start = end
                key = _SEEN  # a name is read once, however many lists stand behind it
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
        raise RequestError("body_unreadable", "beside its data points the body is too large")
    _check_envelope(body if first < 0 else body[:first] + body[last:], found=first >= 0)
    return [] if pieces == [b""] else pieces


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
    """The points of some texts that stand together in a batch, the first of them at the place `first`."""
    if len(group[0]) <= MAX_POINT_BYTES:
        text = b"".join((b'{"data_points":[', b",".join(group), b"]}"))
        points = decode_batch_shortly(text) if _has_few_values(text, max_points) else None
        if points is not None:
            return Batch(points, [])
        del text  # not to be there beside what follows
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
    """Whether decoding it at once is bounded: decoded, every object and list takes far more memory than its text."""
    return (
        len(text) <= _SURELY_FEW_BYTES
        or text.count(b"{") + text.count(b"[") <= max_points * _VALUES_PER_POINT
    )


def _stripped(body: bytes, start: int, end: int) -> memoryview:
    """The text between two places without the white space around it; nothing is copied but a little at its end."""
    found = _NOT_SPACE.search(body, start, end)
    start = end if found is None else found.start()
    while start < end:
        look = body[max(start, end - _LOOK_BACK) : end]
        kept = len(look.rstrip())
        end -= len(look) - kept
        if kept:
            break
    return memoryview(body)[start:end]


def _check_envelope(text: bytes, *, found: bool) -> None:
    """Refuse what is around the points when it is no JSON object with one list of data points."""
    try:
        envelope: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise RequestError("body_unreadable", f"the body is not JSON: {reason}") from None
    names = [name for name in envelope if _is_name(name)] if isinstance(envelope, dict) else []
    if len(names) != 1 or (not found and envelope[names[0]] is not None):
        raise RequestError(
            "body_unreadable",
            'the body is not an object with one list of data points: {"data_points": [...]}',
        )


def _is_list_name(body: bytes, key: slice) -> bool:
    try:
        return 0 < key.stop - key.start <= MAX_ENVELOPE_BYTES and _is_name(json.loads(body[key]))
    except ValueError:
        return False


def _is_name(name: str) -> bool:
    return name.replace("_", "").lower() == "datapoints"


def _too_large(max_points: int) -> RequestError:
    return RequestError("batch_too_large", f"a batch may have {max_points} data points; send it in parts")
