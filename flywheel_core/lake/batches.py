"""Reads Parquet files about a thousand rows at a time, for readers that keep only a part of each row."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

if TYPE_CHECKING:
    import polars as pl

_ROWS = 1_024


def frames_of(path: Path, columns: Sequence[str] | None = None) -> Iterator["pl.DataFrame"]:
    """Yield the rows of a Parquet file in order, in at least one frame, which may be empty.

    columns: those to read, all by default. Raises OSError or pyarrow.ArrowInvalid when the file cannot be read.
    """
    import polars as pl  # slow to load, and building tables does not need it

    with pq.ParquetFile(path) as file:
        fields = file.schema_arrow
        kept = fields if columns is None else [fields.field(name) for name in columns]
        yield pl.DataFrame(fields.empty_table().select([field.name for field in kept]))
        for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
            yield pl.DataFrame(batch)
