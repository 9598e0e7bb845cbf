"""Decode a batch at once, for tests that do not care about parts."""

from flywheel_core.wire_batch import Batch, decode_parts


def decode_batch(body: bytes, max_points: int) -> Batch:
    """Return what all parts of a batch contain together. Raises as `decode_parts`."""
    parts = list(decode_parts(body, max_points))
    return Batch(
        [one for part in parts for one in part.points], [one for part in parts for one in part.rejected]
    )
