"""Decodes a data point from its wire format: the one decoder that the collector and ingest share.

Text in a known shape takes the fast path (`wire_short.py`); all other text is decoded field by field
(`wire_fields.py`), so that the error can say what is wrong. `wire_batch.py` decodes batches.
"""

from flywheel_core.errors import PointError
from flywheel_core.records import DataPoint, encode_point
from flywheel_core.wire_fields import decode_fields
from flywheel_core.wire_short import decode_one_shortly

MAX_POINT_BYTES = 3 * 1024 * 1024
"""Largest data point that is accepted, in bytes of JSON text."""

MAX_LINE_BYTES = 2 * MAX_POINT_BYTES
"""Largest raw line that is read back, in bytes: a stored point has more fields than the one that was received."""

_GROWTH = 4
"""How much longer the stored line of a large point may be than its text: a number such as 1e15 is written in full."""

_RECEIPT_BYTES = 1_024
"""Room left in a line for what the collector and import add to a point: source and time of receipt."""


def decode_point(
    raw: bytes | memoryview, now: int | None = None, max_bytes: int = MAX_POINT_BYTES
) -> DataPoint:
    """Return the data point in one JSON text, checked and in canonical form.

    `now` is the timestamp, in unix seconds, of a point that has neither a timestamp nor a time of receipt; the current
    time unless given. Raises PointError, with one of `POINT_CODES`, when the text is not an acceptable data point;
    the code is `point_too_large` when it has more than `max_bytes` bytes, or when its canonical line would be longer
    than can be read back.
    """
    if len(raw) > max_bytes:
        raise PointError(
            "point_too_large", f"the data point has {len(raw)} bytes; at most {max_bytes} are taken"
        )
    text = bytes(raw)
    found = decode_one_shortly(text)  # keeps large parts as they are, so the line cannot be much longer
    if found is None:
        found = decode_fields(text, now)
        if (
            len(text) > MAX_LINE_BYTES // _GROWTH
            and len(encode_point(found)) > MAX_LINE_BYTES - _RECEIPT_BYTES
        ):
            raise PointError(
                "point_too_large", "the numbers of the data point are too long once written in full"
            )
    return found
