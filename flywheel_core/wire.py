"""Decodes a data point from its wire format: the one decoder that the collector and ingest share.

Text in a known shape takes the fast path (`wire_short.py`); all other text is decoded field by field
(`wire_fields.py`), so that the error can say what is wrong. `wire_batch.py` decodes batches.
"""

from flywheel_core.errors import PointError
from flywheel_core.records import DataPoint
from flywheel_core.wire_fields import decode_fields
from flywheel_core.wire_short import decode_one_shortly

MAX_POINT_BYTES = 3 * 1024 * 1024
"""Largest data point that is accepted, in bytes of JSON text."""

MAX_LINE_BYTES = 2 * MAX_POINT_BYTES
"""Largest raw line that is read back, in bytes: a stored point has more fields than the one that was received."""


def decode_point(
    raw: bytes | memoryview, now: int | None = None, max_bytes: int = MAX_POINT_BYTES
) -> DataPoint:
    """Return the data point in one JSON text, checked and in canonical form.

    `now` is the timestamp, in unix seconds, of a point that has neither a timestamp nor a time of receipt; the current
    time unless given. Raises PointError, with one of `POINT_CODES`, when the text is not an acceptable data point;
    the code is `point_too_large` when it has more than `max_bytes` bytes.
    """
    if len(raw) > max_bytes:
        raise PointError(
            "point_too_large", f"the data point has {len(raw)} bytes; at most {max_bytes} are taken"
        )
    text = bytes(raw)
    return decode_one_shortly(text) or decode_fields(text, now)
