"""All of a batch at once, where a test does not care for parts."""

from flywheel_core.wire_batch import Batch, decode_parts


def decode_batch(body: bytes, max_points: int) -> Batch:
    """What all parts of a batch hold together. Raises as `decode_parts`."""
    parts = list(decode_parts(body, max_points))
    return Batch(
        [one for part in parts for one in part.points], [one for part in parts for one in part.rejected]
    )
