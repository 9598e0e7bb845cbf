"""Builds the tables `responses` and `rejects` of a day from its raw files."""

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from flywheel_core.config import Config
from flywheel_core.lake.chunks import Batch, Wanted
from flywheel_core.lake.columns import POINTS
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.parquet import Writer, parquet_file
from flywheel_core.lake.raw_lines import CHUNK_BYTES
from flywheel_core.lake.reading import Progress, Tally, read_files
from flywheel_core.lake.schemas import REJECTS, RESPONSES
from flywheel_core.lake.tables import TableFile, table_file

_CHUNKS_A_ROW_GROUP = 4
_MOST_CHUNKS = 256
"""Most chunks in a row group, however small they are: each takes some memory of its own."""
_ROW_GROUP_BYTES = _CHUNKS_A_ROW_GROUP * CHUNK_BYTES // 2
"""Chunks are gathered until they have this many bytes: a day may consist of thousands of small files."""


@dataclass(frozen=True)
class IngestResult:
    """What one ingest of a day read and stored; lines = accepted + duplicates + rejected.

    open: the UTC day is not over. files: names of the raw files. Blank lines are not counted in `lines`.
    unknown_models: models that have a response or score but no category in the configuration.
    """

    day: date
    open: bool
    files: tuple[str, ...]
    bytes_read: int
    lines: int
    accepted: int
    duplicates: int
    rejected: int
    blank: int
    rejected_by_code: dict[str, int]
    unknown_models: tuple[str, ...]
    responses: TableFile
    rejects: TableFile


def ingest_day(
    layout: Layout,
    day: date,
    config: Config,
    progress: Progress | None = None,
    today: date | None = None,
) -> IngestResult:
    """Read all raw files of `day` and replace its tables `responses` and `rejects`.

    `today` is the current UTC day unless given. A day without raw files gives empty tables. While the day is open, a last
    line without newline is left for later. Memory is bounded whatever the size of the files, but for a digest of each id,
    about 100 bytes. Raises StorageError when a file cannot be read or written.
    """
    is_open = day >= (today or datetime.now(UTC).date())
    files = layout.raw_files(day)
    tally = Tally()
    models: set[str] = set()
    responses_path, rejects_path = layout.table("responses", day), layout.table("rejects", day)
    with (
        parquet_file(rejects_path, REJECTS, long=("text",)) as rejects,
        parquet_file(responses_path, _STORED, long=("answer",)) as responses,
    ):
        grouped, refused = _RowGroups(responses, _CHUNKS_A_ROW_GROUP), _RowGroups(rejects)
        for batch in read_files(files, Wanted(day, open=is_open), tally, progress):
            points_before = tally.accepted - batch.points.num_rows
            rows = _response_rows(batch, day, points_before)
            models.update(rows.column("model").unique().drop_null().to_pylist())
            grouped.add(rows, batch.bytes_read)
            rejected = _reject_rows(batch, day)
            refused.add(rejected, rejected.nbytes)
        grouped.flush()
        refused.flush()
        responses.note({"files": [path.name for path in files], "rejected": tally.rejected, **asdict(tally)})
    known = config.categories()
    return IngestResult(
        day=day,
        open=is_open,
        files=tuple(path.name for path in files),
        bytes_read=tally.bytes_read,
        lines=tally.lines,
        accepted=tally.accepted,
        duplicates=tally.duplicates,
        rejected=tally.rejected,
        blank=tally.blank,
        rejected_by_code=dict(sorted(tally.rejected_by_code.items())),
        unknown_models=tuple(sorted(models - known.keys())),
        responses=table_file("responses", day, responses_path),
        rejects=table_file("rejects", day, rejects_path),
    )


class _RowGroups:
    """Gathers the rows of chunks into row groups, because thousands of small groups are slow to read."""

    def __init__(self, file: Writer, least_chunks: int = 1) -> None:
        self._file, self._least = file, least_chunks
        self._waiting: list[pa.Table] = []
        self._size = 0

    def add(self, rows: pa.Table, size: int) -> None:
        """Add the rows of a chunk. size: bytes that the chunk counts for."""
        self._waiting.append(rows)
        self._size += size
        chunks = len(self._waiting)
        if chunks >= self._least and (chunks == _MOST_CHUNKS or self._size >= _ROW_GROUP_BYTES):
            self.flush()

    def flush(self) -> None:
        """Write the rows gathered so far as a row group."""
        if self._waiting:
            self._file.write(pa.concat_tables(self._waiting))
        self._waiting.clear()
        self._size = 0


def _response_rows(batch: Batch, day: date, points_before: int) -> pa.Table:
    """Return rows of `responses`: each response with its data point, whose texts are held once, as dictionaries."""
    owner = pc.cast(batch.answers.column("owner"), pa.int32()).combine_chunks()
    columns: dict[str, Any] = {
        "day": pa.repeat(pa.scalar(day, pa.date32()), len(owner)),
        "point": pc.add(pc.cast(owner, pa.int64()), points_before),
        "raw_file": pa.repeat(batch.file, len(owner)),
    }
    for name in batch.points.column_names:
        column = batch.points.column(name).combine_chunks()
        if pa.types.is_string(column.type):
            texts = column.dictionary_encode()
            columns[name] = pa.DictionaryArray.from_arrays(pc.take(texts.indices, owner), texts.dictionary)
        else:
            columns[name] = pc.take(column, owner)
    for name in RESPONSES.names:
        if name not in columns:
            columns[name] = batch.answers.column(name)
    return pa.table([columns[field.name] for field in _STORED], schema=_STORED)


def _reject_rows(batch: Batch, day: date) -> pa.Table:
    count = batch.rejects.num_rows
    columns = [pa.repeat(pa.scalar(day, pa.date32()), count), pa.repeat(batch.file, count)]
    return pa.table([*columns, *batch.rejects.columns], schema=REJECTS)


_TEXTS_HELD_ONCE = {field.name for field in POINTS if pa.types.is_string(field.type)}
_STORED = pa.schema(
    [
        pa.field(field.name, pa.dictionary(pa.int32(), pa.string()))
        if field.name in _TEXTS_HELD_ONCE
        else field
        for field in RESPONSES
    ]
)
"""`RESPONSES` as passed to the Parquet writer, which stores columns of dictionary type as plain text columns."""
