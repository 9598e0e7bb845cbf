"""Streams long texts past DuckDB, which would have to hold all of them in memory to sort or join their rows.

A table's rows are stored in order, so texts read in that order belong to rows that DuckDB has sorted without them.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flywheel_core.errors import StorageError

_ROWS = 4_096
"""Rows read at once. Texts that repeat from row to row are held once."""


def texts_of(path: Path, column: str, keep: NDArray[np.bool_]) -> Iterator[pa.Array]:
    """Yield the texts of a column of a table's file of a day in order, those of the rows where `keep` is true.

    keep: one entry per row of the file. Raises StorageError when the file cannot be read.
    """
    first = 0
    try:
        with pq.ParquetFile(path, read_dictionary=[column]) as file:
            for batch in file.iter_batches(batch_size=_ROWS, columns=[column]):
                kept = pa.array(keep[first : first + batch.num_rows])
                first += batch.num_rows
                yield batch.column(0).filter(kept).cast(pa.string())
    except (OSError, pa.ArrowInvalid) as error:
        raise StorageError(
            f"cannot read the table {path}: {error}",
            hint=f"build the day again: flywheel ingest {path.stem}, then flywheel label {path.stem}",
        ) from error


def with_texts(
    rows: Iterable[pa.RecordBatch], texts: Iterable[pa.Array], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Yield the rows with their texts as a further column, `text`, in its place in `schema`.

    The n-th text of `texts` is that of the n-th row, however the two are cut into batches. Raises StorageError when
    there are fewer texts than rows or more.
    """
    place, left = schema.get_field_index("text"), iter(texts)
    text, used = pa.array([], pa.string()), 0
    for batch in rows:
        start = 0
        while start < batch.num_rows:
            while used == len(text):
                found = next(left, None)
                if found is None:
                    raise _mismatch("fewer")
                text, used = found, 0
            count = min(batch.num_rows - start, len(text) - used)
            part = batch.slice(start, count)
            yield part.add_column(place, "text", text.slice(used, count))
            start, used = start + count, used + count
    if used < len(text) or any(len(more) for more in left):
        raise _mismatch("more")


def _mismatch(which: str) -> StorageError:
    return StorageError(
        f"the tables of these days have {which} texts than data points",
        hint="a table changed while it was read, or is damaged: build the days again with flywheel ingest and label",
    )
