"""Writes the lake's Parquet files: the same rows give the same bytes, and a reader never sees a partly written file."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flywheel_core.errors import StorageError
from flywheel_core.lake.atomic import replacing

ROW_GROUP = 65_536
"""Rows per row group of a derived table."""

_COUNTS_KEY = b"flywheel"
_DICTIONARY_BYTES = 64 * 1024 * 1024


class Writer:
    """An open Parquet file. `rows` counts the rows written to it."""

    def __init__(self, file: pq.ParquetWriter) -> None:
        self._file = file
        self.rows = 0

    def write(self, rows: pa.Table) -> None:
        """Append `rows` as one row group; does nothing when there are none."""
        if rows.num_rows:
            self._file.write_table(rows.unify_dictionaries(), row_group_size=rows.num_rows)
            self.rows += rows.num_rows

    def note(self, values: Mapping[str, Any]) -> None:
        """Store small facts about the rows in the file's metadata; `read_note` returns them."""
        text = json.dumps(values, ensure_ascii=False, sort_keys=True)
        self._file.add_key_value_metadata({_COUNTS_KEY: text.encode()})


@contextmanager
def parquet_file(path: Path, schema: pa.Schema, long: Sequence[str] = ()) -> Iterator[Writer]:
    """Yield the writer of a new Parquet file, which replaces `path` when the block ends without error.

    long: columns of long texts that do not repeat; they are compressed with Snappy, which is faster, all others with
    Zstandard. Raises StorageError when the file cannot be written.
    """
    short = [name for name in schema.names if name not in long]
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression={name: "snappy" if name in long else "zstd" for name in schema.names},
            compression_level=dict.fromkeys(short, 1),
            use_dictionary=[name for name in short if _holds_text(schema.field(name).type)],
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            write_statistics=False,
            store_schema=False,
        ) as file,
    ):
        yield Writer(file)


def _holds_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_dictionary(kind))


def write_rows(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write batches of any size as row groups of `ROW_GROUP` rows; return the number of rows.

    Raises StorageError when the file cannot be written.
    """
    waiting: list[pa.Table] = []
    count = 0
    with parquet_file(path, schema) as writer:
        for batch in batches:
            # cast first: names inside nested types differ between engines, and only equal schemas can be concatenated
            waiting.append(pa.Table.from_batches([batch]).cast(schema))
            count += batch.num_rows
            while count >= ROW_GROUP:
                table = pa.concat_tables(waiting)
                writer.write(table.slice(0, ROW_GROUP))
                waiting = [table.slice(ROW_GROUP)]
                count -= ROW_GROUP
        if waiting:
            writer.write(pa.concat_tables(waiting))
        return writer.rows


def read_note(path: Path) -> dict[str, Any]:
    """Return what `Writer.note` stored in a file; empty if nothing. Raises StorageError when it cannot be read."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowInvalid) as error:
        raise StorageError(f"cannot read {path}: {error}") from error
    found: dict[str, Any] = json.loads(metadata.get(_COUNTS_KEY, b"{}"))
    return found
