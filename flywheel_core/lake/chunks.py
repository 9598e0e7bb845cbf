"""Reads one chunk of a raw file into Arrow tables: its data points, their responses and the rejected lines."""

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from flywheel_core.errors import PointError
from flywheel_core.lake.columns import ANSWERS, POINTS, answer_columns, point_columns
from flywheel_core.lake.layout import IMPORTED_NAME
from flywheel_core.lake.points import BYTE_ORDER_MARK, PointReader
from flywheel_core.lake.raw_lines import CHUNK_BYTES, Chunk, Text

REJECTS = pa.schema(
    [
        ("byte_offset", pa.int64()),
        ("length", pa.int64()),
        ("code", pa.string()),
        ("message", pa.string()),
        ("text", pa.string()),
    ]
)

_SHORT = 16
"""Blank lines of at most this many bytes are skipped without being decoded: a file may have millions of them."""

_ROWS_AT_ONCE = 20_000
"""Rejected lines that are held as Python objects before they are packed into Arrow columns."""

_POINTS_TO_LABEL = pa.schema([POINTS.field(name) for name in ("data_point_id", "question")])
_ANSWERS_TO_LABEL = pa.schema(
    [ANSWERS.field(name) for name in ("owner", "model", "score", "failed", "cost", "latency_ms")]
)

REJECT_CODES = {
    "file_damaged": "a compressed file cannot be unpacked further; the text is the broken-off line before the damage",
    "schema_later": "a later version of Flywheel stored the line; it can be read again once that version is back",
}
"""Why ingest rejects a line, in addition to `POINT_CODES`: code -> meaning."""


class Wanted(msgspec.Struct, frozen=True):
    """How to read the chunks of a raw file.

    day: the UTC day of the file. open: the file may still be written to, so a last line without newline is left for later.
    full: read all columns, not only those that labels are computed from.
    """

    day: date
    open: bool = False
    full: bool = True


@dataclass(frozen=True)
class Batch:
    """The content of one chunk. lines = rows of `points` + rows of `rejects`; blank lines are not among them."""

    path: str
    lines: int
    blank: int
    bytes_read: int
    points: pa.Table
    answers: pa.Table
    rejects: pa.Table

    @property
    def file(self) -> str:
        """The raw file's name."""
        return Path(self.path).name


def read_chunk(chunk: Chunk | Text, wanted: Wanted) -> Batch:
    """Read a chunk into tables. Raises StorageError when its file cannot be read."""
    data = chunk.read()
    with _without_collector():
        return _taken_apart(chunk, data, wanted)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Disable garbage collection: nothing that is read has reference cycles, and looking for them takes a tenth of the run time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _taken_apart(chunk: Chunk | Text, data: bytes, wanted: Wanted) -> Batch:
    points: list[Any] = []
    offsets: list[int] = []
    rejects = _Rejects()
    blank = 0
    end = chunk.start
    if chunk.oversized or (isinstance(chunk, Text) and chunk.damage is not None):
        if isinstance(chunk, Text):
            rejects.add(_whole_reject(chunk, data, chunk.size or len(data)))
            end += chunk.size or len(data)
        elif (whole := _ends_line(chunk)) or not wanted.open:
            rejects.add(_whole_reject(chunk, data, chunk.end - chunk.start - whole))
            end = chunk.end
    else:
        imported = wanted.full and IMPORTED_NAME.fullmatch(Path(chunk.path).name) is not None
        reader = PointReader(data, wanted.day, answers=wanted.full, imported=imported)
        for offset, view in _lines(data, chunk.start, wanted.open):
            end = offset + len(view) + 1
            if len(view) <= _SHORT and not bytes(view).strip():
                blank += 1
                continue
            try:
                points.append(reader.read(view))
                offsets.append(offset)
            except PointError as error:
                line = bytes(view)
                if line.removeprefix(BYTE_ORDER_MARK).strip():
                    rejects.add((offset, len(line), error.code, error.message, _shown(line)))
                else:
                    blank += 1
        end = min(end, chunk.start + len(data))
    rejected = rejects.table()
    return Batch(
        path=chunk.path,
        lines=len(points) + rejected.num_rows,
        blank=blank,
        bytes_read=end - chunk.start,
        points=point_columns(points, offsets, POINTS if wanted.full else _POINTS_TO_LABEL),
        answers=answer_columns(points, ANSWERS if wanted.full else _ANSWERS_TO_LABEL),
        rejects=rejected,
    )


_Reject = tuple[int, int, str, str, str]
"""A row of `REJECTS`."""


class _Rejects:
    """The rejected lines of a chunk, possibly millions: as Arrow columns they take a fifth of the memory."""

    def __init__(self) -> None:
        self._rows: list[_Reject] = []
        self._tables: list[pa.Table] = []

    def add(self, row: _Reject) -> None:
        """Add one rejected line."""
        self._rows.append(row)
        if len(self._rows) == _ROWS_AT_ONCE:
            self._pack()

    def table(self) -> pa.Table:
        """Return all rejected lines, in order."""
        self._pack()
        return pa.concat_tables(self._tables)

    def _pack(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [()] * len(REJECTS)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, REJECTS, strict=True)]
        self._tables.append(pa.table(arrays, schema=REJECTS))
        self._rows.clear()


def _lines(data: bytes, start: int, keep_tail: bool) -> Iterator[tuple[int, memoryview]]:
    """Yield the offset and text of each line, split on newline only; with `keep_tail`, an unfinished last line is left out."""
    view = memoryview(data)
    at = 0
    while (end := data.find(b"\n", at)) >= 0:
        yield start + at, view[at:end]
        at = end + 1
    if at < len(data) and not keep_tail:
        yield start + at, view[at:]


def _ends_line(chunk: Chunk) -> bool:
    return Chunk(chunk.path, chunk.end - 1, chunk.end).read() == b"\n"


def _whole_reject(chunk: Chunk | Text, data: bytes, length: int) -> _Reject:
    if isinstance(chunk, Text) and chunk.damage is not None:
        return chunk.start, length, "file_damaged", f"cannot be unpacked: {chunk.damage}", _shown(data)
    return (
        chunk.start,
        length,
        "point_too_large",
        f"the line is longer than {CHUNK_BYTES} bytes; only its beginning is kept here",
        _shown(data),
    )


def _shown(line: bytes) -> str:
    """Return a line as text, with bytes that are not UTF-8 as \\xNN."""
    return line.decode(errors="backslashreplace")
