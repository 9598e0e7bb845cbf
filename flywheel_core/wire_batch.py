"""A batch on the wire: `{"data_points": [...]}` to accepted data points and rejected ones, each judged alone.

A batch whose points all take the short way is decoded in one pass. Otherwise the text is cut at the commas of the
list, without decoding it: what one point holds (NaN, bad UTF-8, nesting without end) cannot spoil its neighbours.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from flywheel_core.errors import PointError, RequestError
from flywheel_core.records import DataPoint
from flywheel_core.wire import decode_point
from flywheel_core.wire_short import decode_batch_shortly

MAX_ENVELOPE_BYTES = 64 * 1024
"""The largest envelope, the points themselves not counted."""

MAX_MESSAGE_CHARS = 500

MAX_TOKENS = 1_000_000
"""Brackets, commas and strings that a batch may have when its points must be judged one by one."""

_SURELY_FEW_BYTES = 1_048_576
_BRACES_PER_POINT = 64
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},"]', re.DOTALL)
_OPEN, _CLOSE, _QUOTE, _COMMA = b"[{", b"]}", ord('"'), ord(",")
_LIST = ord("[")


@dataclass(frozen=True)
class Rejected:
    """A data point that is not acceptable: its place in the batch (from 0), why, and its text as it came."""

    index: int
    code: str
    message: str
    raw: bytes


class Batch(NamedTuple):
    """What a batch held; the points are good for `encode_point` and its like, see `decode_batch_shortly`."""

    points: list[DataPoint]
    rejected: list[Rejected]


def decode_batch(body: bytes, max_points: int) -> Batch:
    """The data points of a batch's JSON text, accepted and rejected, in order.

    Raises RequestError: `body_unreadable` when the envelope cannot be read, `batch_too_large` beyond `max_points`.
    """
    if len(body) <= _SURELY_FEW_BYTES or body.count(b"{") <= max_points * _BRACES_PER_POINT:
        points = decode_batch_shortly(body)
        if points is not None:
            if len(points) > max_points:
                raise _too_large(max_points)
            return Batch(points, [])
    points, rejected = [], []
    for index, raw in enumerate(split_batch(body, max_points)):
        try:
            points.append(decode_point(raw))
        except PointError as error:
            rejected.append(Rejected(index, error.code, error.message[:MAX_MESSAGE_CHARS], raw))
    return Batch(points, rejected)


def split_batch(body: bytes, max_points: int) -> list[bytes]:
    """The text of every data point of a batch, in order; they need not be valid JSON. Raises as `decode_batch`."""
    first = last = -1
    pieces: list[bytes] = []
    piece_start = depth = 0
    key: bytes | None = None
    for count, match in enumerate(_TOKEN.finditer(body)):
        token, at = match[0], match.start()
        mark = token[0]
        if count > MAX_TOKENS:
            raise RequestError("body_unreadable", "the body has too many values; send it in parts")
        if mark in _OPEN:
            depth += 1
            if depth == 2 and mark == _LIST and first < 0 and key is not None and _is_list_name(key):
                first = piece_start = match.end()
        elif mark in _CLOSE:
            if depth == 2 and first >= 0 > last:
                last = at
                pieces.append(body[piece_start:at].strip())
            depth -= 1
        elif mark == _COMMA:
            if depth == 1:
                key = None
            elif depth == 2 and first >= 0 > last:
                pieces.append(body[piece_start:at].strip())
                piece_start = match.end()
                if len(pieces) >= max_points:
                    raise _too_large(max_points)
        elif token == b'"':
            raise RequestError("body_unreadable", f"the string that begins at byte {at} does not end")
        elif mark == _QUOTE and depth == 1 and key is None:
            key = token
    envelope = body if first < 0 else body[:first] + body[last:]
    _check_envelope(envelope, found=first >= 0)
    return [] if pieces == [b""] else pieces


def _check_envelope(text: bytes, *, found: bool) -> None:
    """Refuse what is around the points when it is no JSON object with one list of data points."""
    if len(text) > MAX_ENVELOPE_BYTES:
        raise RequestError("body_unreadable", "beside its data points the body is too large")
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


def _is_list_name(key: bytes) -> bool:
    try:
        return _is_name(json.loads(key))
    except ValueError:
        return False


def _is_name(name: str) -> bool:
    return name.replace("_", "").lower() == "datapoints"


def _too_large(max_points: int) -> RequestError:
    return RequestError("batch_too_large", f"a batch may have {max_points} data points; send it in parts")
