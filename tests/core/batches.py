"""Decoding of a whole batch, for tests that do not care about its parts."""

from flywheel_core.wire_batch import Batch, decode_parts


def decode_batch(body: bytes, max_points: int) -> Batch:
    """Return what all parts of a batch hold together. Raises RequestError as `decode_parts` does."""
    parts = list(decode_parts(body, max_points))
    return Batch(
        [one for part in parts for one in part.points], [one for part in parts for one in part.rejected]
    )
