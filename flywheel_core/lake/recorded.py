"""Reads files of recorded data points line by line, plain or compressed, for the import."""

from collections.abc import Iterator
from pathlib import Path

from flywheel_core.errors import PointError
from flywheel_core.lake.points import BYTE_ORDER_MARK, NO_TIME
from flywheel_core.lake.raw_lines import Text, plain_chunks, unpacked_chunks
from flywheel_core.lake.reading import Progress
from flywheel_core.records import MAX_TIMESTAMP, DataPoint

SOURCE = "import"
"""Source given to points that name none."""

_DAY_SECONDS = 86_400


class Meter:
    """Reports to the caller how many bytes are done, at the end of each chunk and file."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def advance(self, within: int) -> None:
        """Report that `within` bytes of the present file are done."""
        if self._progress:
            self._progress(min(self._done + within, self._total), self._total)

    def finish(self, size: int) -> None:
        """Report that the present file, of `size` bytes, is done."""
        self._done += size
        self.advance(0)


def dated_point(line: bytes, shift: int) -> DataPoint:
    """Return the point of a line, moved by `shift` days, with its event time as the time of receipt.

    Raises PointError when the line is not an acceptable data point, or when its timestamp is missing or out of range.
    """
    # imported here because it is slow to load, and other commands do not need it
    from flywheel_core.wire import MAX_LINE_BYTES, decode_point

    text = line.removeprefix(BYTE_ORDER_MARK)
    point = decode_point(text, now=NO_TIME, max_bytes=MAX_LINE_BYTES)
    if point.timestamp == NO_TIME:
        raise PointError("timestamp_invalid", "a recorded point needs a timestamp")
    point.timestamp += shift * _DAY_SECONDS
    if not 0 <= point.timestamp <= MAX_TIMESTAMP:
        raise PointError("timestamp_invalid", f"the time moved by {shift} days is not between 1970 and 2100")
    point.received_at = float(point.timestamp)
    point.source = point.source or SOURCE
    return point


def points_of(path: Path, meter: Meter) -> Iterator[DataPoint]:
    """Yield the points of a file as `dated_point` returns them; lines that are none are passed over."""
    for line, broken in lines_of(path, meter):
        if broken:
            continue
        try:
            yield dated_point(line, 0)
        except PointError:
            continue


def lines_of(path: Path, meter: Meter) -> Iterator[tuple[bytes, str | None]]:
    """Yield the lines of a file that are not blank, each with a reject code or None.

    The code is None for a complete line; `point_too_large` for an oversized one, of which only the beginning is given;
    and `file_damaged` where the file cannot be unpacked further: the line is then what precedes the damage, or nothing.
    """
    compressed = path.suffix == ".gz"
    within = 0
    for chunk in unpacked_chunks(path) if compressed else plain_chunks(path):
        data = chunk.read()
        if isinstance(chunk, Text) and chunk.damage is not None:
            yield data, "file_damaged"
        elif chunk.oversized:
            yield data, "point_too_large"
        else:
            for line in data.split(b"\n"):
                if line.removeprefix(BYTE_ORDER_MARK).strip():
                    yield line, None
        within += 0 if compressed else len(data)
        meter.advance(within)
    meter.finish(path.stat().st_size)
