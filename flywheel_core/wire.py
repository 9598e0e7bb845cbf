"""From the wire to a data point: the one decoder of the collector and of ingest.

A text that already has a known shape takes the short way (`wire_short.py`); everything else is taken apart field by
field (`wire_fields.py`), so that what is wrong can be said. Batches are taken apart in `wire_batch.py`.
"""

from flywheel_core.errors import PointError
from flywheel_core.records import DataPoint
from flywheel_core.wire_fields import decode_fields
from flywheel_core.wire_short import decode_one_shortly

MAX_POINT_BYTES = 3 * 1024 * 1024
"""The largest data point that is taken."""

MAX_LINE_BYTES = 2 * MAX_POINT_BYTES
"""The largest raw line that is read again: a stored point has more fields than the one that came."""


def decode_point(
    raw: bytes | memoryview, now: int | None = None, max_bytes: int = MAX_POINT_BYTES
) -> DataPoint:
    """The data point that one JSON text holds, checked and canonical.

    `now` is the unix time of a point that says neither when it happened nor when it was received; the present unless
    given. Raises PointError with one of `POINT_CODES`; `point_too_large` above `max_bytes`.
    """
    if len(raw) > max_bytes:
        raise PointError(
            "point_too_large", f"the data point has {len(raw)} bytes; at most {max_bytes} are taken"
        )
    text = bytes(raw)
    return decode_one_shortly(text) or decode_fields(text, now)
