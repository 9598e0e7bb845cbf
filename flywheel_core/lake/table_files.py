"""Checks of a table's file of one day: whether it is whole, and has the columns of this version."""

from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from flywheel_core.errors import StorageError
from flywheel_core.lake.schemas import TABLES

if TYPE_CHECKING:
    import polars as pl

_BATCH_ROWS = 16_384


def check_table(path: Path, name: str, day: date) -> None:
    """Raise StorageError when a table's file is missing or damaged, or lacks columns because another version wrote it."""
    found = _footer(path, day).schema
    present = {found.column(place).path.replace(".list.element", "") for place in range(len(found))}
    lacking = [column for column in _leaves(TABLES[name]) if column not in present]
    if lacking:
        raise _of_another_version(path, f"no {', '.join(lacking)}")


def check_types(path: Path, name: str, day: date) -> None:
    """Raise StorageError when a table's file has columns in another type because another version wrote it.

    Columns that this version does not know are no error.
    """
    import polars as pl  # slow to load, and building tables does not need it

    try:
        found = pl.scan_parquet(path, glob=False).collect_schema()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise unreadable(path, day, error) from error
    other = [column for column, kind in types_of(name).items() if found[column] != kind]
    if other:
        raise _of_another_version(path, f"{', '.join(other)} in another type")


def types_of(name: str) -> "pl.Schema":
    """Return the types of a table's columns as polars names them."""
    import polars as pl  # as above

    return pl.DataFrame(TABLES[name].empty_table()).schema


def check_rows(path: Path, day: date) -> None:
    """Read all rows of a table's file, and raise StorageError when that fails: DuckDB does not say which file is damaged."""
    try:
        with pq.ParquetFile(path) as file:
            for _ in file.iter_batches(_BATCH_ROWS):
                pass
    except (OSError, pa.ArrowInvalid) as error:
        raise unreadable(path, day, error) from error


def row_count(path: Path, day: date) -> int:
    """Return the number of rows in a table's file, from its footer. Raises StorageError when it is missing or damaged."""
    count: int = _footer(path, day).num_rows
    return count


def _footer(path: Path, day: date) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise unreadable(path, day, error) from error


def _leaves(fields: Iterable[pa.Field], within: str = "") -> Iterator[str]:
    """Yield the names of all columns that hold values; for a list of structs, `list.field` for each field."""
    for field in fields:
        kind = field.type.value_type if pa.types.is_list(field.type) else field.type
        if pa.types.is_struct(kind):
            yield from _leaves(kind, f"{within}{field.name}.")
        else:
            yield f"{within}{field.name}"


def unreadable(path: Path, day: date, error: Exception) -> StorageError:
    """Return the error for a table's file of a day that cannot be read."""
    says = error.strerror or error if isinstance(error, OSError) else error
    return StorageError(
        f"cannot read the table {path}: {says}",
        hint=f"build the day again: flywheel ingest {day}, then flywheel label {day}",
    )


def _of_another_version(path: Path, differs: str) -> StorageError:
    return StorageError(
        f"the table {path} has {differs}: another version of Flywheel wrote it",
        hint="build all days again: flywheel ingest all, then flywheel label all",
    )
