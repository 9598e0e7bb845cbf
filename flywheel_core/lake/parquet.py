"""Writes the lake's Parquet files: the same rows give the same bytes, and a reader never sees a partly written file."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flywheel_core.errors import StorageError
from flywheel_core.lake.atomic import replacing

ROW_GROUP = 65_536
"""Rows per row group of a derived table."""
GROUP_BYTES = 16 * 1024 * 1024
"""Bytes of text at which a row group ends earlier: who reads it, as who writes it, holds it in memory whole."""

_COUNTS_KEY = b"flywheel"
_DICTIONARY_BYTES = 64 * 1024 * 1024


class Writer:
    """An open Parquet file."""

    def __init__(self, file: pq.ParquetWriter) -> None:
        self._file = file

    def write(self, rows: pa.Table) -> None:
        """Append `rows` as one row group; does nothing when there are none."""
        if rows.num_rows:
            self._file.write_table(rows.unify_dictionaries(), row_group_size=rows.num_rows)

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


def write_rows(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write batches of any size as row groups of `ROW_GROUP` rows, fewer where texts are long.

    How the rows are cut into batches changes nothing in the file. Raises StorageError when the file cannot be written.
    """
    waiting: list[pa.Table] = []
    count = size = 0
    with parquet_file(path, schema) as writer:
        for batch in batches:
            # cast first: names inside nested types differ between engines, and only equal schemas can be concatenated
            table = pa.Table.from_batches([batch]).cast(schema)
            sizes = _text_bytes(table)
            while count + table.num_rows >= ROW_GROUP or size + sizes.sum() >= GROUP_BYTES:
                rows = int(np.searchsorted(sizes.cumsum(), GROUP_BYTES - size)) + 1
                rows = min(rows, ROW_GROUP - count)
                writer.write(pa.concat_tables([*waiting, table.slice(0, rows)]))
                table, sizes = table.slice(rows), sizes[rows:]
                waiting, count, size = [], 0, 0
            waiting.append(table)
            count, size = count + table.num_rows, size + int(sizes.sum())
        if waiting:
            writer.write(pa.concat_tables(waiting))


def _text_bytes(table: pa.Table) -> NDArray[np.int64]:
    """Return the bytes of all texts in each row, lists not counted."""
    sizes = np.zeros(table.num_rows, np.int64)
    for column in table.columns:
        if pa.types.is_string(column.type):
            sizes += pc.fill_null(pc.binary_length(column), 0).to_numpy()
    return sizes


def read_note(path: Path) -> dict[str, Any]:
    """Return what `Writer.note` stored in a file; empty if nothing. Raises StorageError when it cannot be read."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowInvalid) as error:
        raise StorageError(f"cannot read {path}: {error}") from error
    found: dict[str, Any] = json.loads(metadata.get(_COUNTS_KEY, b"{}"))
    return found
