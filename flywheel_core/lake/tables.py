"""The daily tables: which exist, how one is built from others of its day, and how they are read."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel_core.config import Config
from flywheel_core.errors import NoDataError, StorageError, UsageError
from flywheel_core.lake.atomic import mark_of, sha256_of
from flywheel_core.lake.batches import frames_of
from flywheel_core.lake.engine import engine, one_file, sql
from flywheel_core.lake.labels import create_labels
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.parquet import read_note, write_rows
from flywheel_core.lake.schemas import TABLES
from flywheel_core.lake.table_files import (
    check_rows,
    check_table,
    check_types,
    row_count,
    types_of,
    unreadable,
)
from flywheel_core.lake.texts import texts_of, with_texts
from flywheel_core.lake.unchanged import ChangedError, tries, unchanged

if TYPE_CHECKING:
    import polars as pl

DAILY_TABLES = tuple(TABLES)
"""The daily tables in the order in which they are built."""

SOURCES = {
    "training_examples": ("responses",),
    "label_distribution": ("training_examples",),
    "model_leaderboard": ("responses", "training_examples"),
    "quality_report": (
        "responses",
        "rejects",
        "training_examples",
        "label_distribution",
        "model_leaderboard",
    ),
}
"""Derived table -> the tables of the same day that it is built from; in the order in which they are built."""

DRIFT_DAYS = 7
"""Number of preceding days with which the labels of a day are compared."""

_BATCH_ROWS = 16_384


@dataclass(frozen=True)
class TableFile:
    """A table's file of one day, as written; `sha256` is that of the whole file, in hex."""

    name: str
    day: date
    path: Path
    rows: int
    sha256: str


def build_table(layout: Layout, name: str, day: date, config: Config) -> TableFile:
    """Build one derived table from other tables of the same day, and replace its file.

    The same inputs and settings give the same bytes. It is begun again, up to nine times in half a minute, when one of these
    tables is made again meanwhile. Raises UsageError when `name` is not a derived table, NoDataError when a table that it is built from
    is missing, StorageError when a file cannot be read or written.
    """
    if name not in SOURCES:
        raise UsageError(f"{name!r} is not a derived table", hint=f"derived are {', '.join(SOURCES)}")
    path = layout.table(name, day)
    sources = [layout.table(source, day) for source in SOURCES[name]]
    for _ in tries():
        with suppress(ChangedError), unchanged({source: mark_of(source) for source in sources}):
            try:
                with engine(layout, config) as connection:
                    _build(connection, layout, name, day, path)
            except duckdb.Error as error:
                for source in sources:
                    check_rows(source, day)
                raise StorageError(f"cannot build {name} of {day}: {error}") from error
            return table_file(name, day, path)
    raise StorageError(
        f"cannot build {name} of {day}: what it is built from was made again each time that it was read",
        hint="try it again once nothing else makes this day",
    )


def _build(connection: duckdb.DuckDBPyConnection, layout: Layout, name: str, day: date, path: Path) -> None:
    connection.execute("create table the_day as select cast(? as date) as day", [day])
    for source in SOURCES[name]:
        _view_of_day(connection, layout, source, day)
    if name == "training_examples":
        connection.execute(
            "create view outcomes as select point as example, model, score, failed, cost, latency_ms"
            " from responses where model is not null"
        )
        create_labels(connection)
    if name == "quality_report":
        _ingest_counts(connection, read_note(layout.table("responses", day)))
    rows: Iterable[pa.RecordBatch] = connection.sql(sql(name)).to_arrow_reader(_BATCH_ROWS) or ()
    if name == "training_examples":
        rows = _with_questions(rows, layout.table("responses", day))
    write_rows(path, TABLES[name], rows)


def _with_questions(rows: Iterable[pa.RecordBatch], responses: Path) -> Iterator[pa.RecordBatch]:
    """Yield the training examples of a day, in order of `point`, with the questions of its responses as their texts."""
    position = pq.read_table(responses, columns=["position"]).column(0).to_numpy()
    texts = texts_of(responses, "question", position == 0)
    return with_texts(rows, texts, TABLES["training_examples"])


def table_file(name: str, day: date, path: Path) -> TableFile:
    """Return the record of a table's file on disk. Raises StorageError when it cannot be read."""
    return TableFile(name, day, path, row_count(path, day), sha256_of(path))


def read_table(layout: Layout, name: str, days: Sequence[date] | None = None) -> "pl.DataFrame":
    """Return a table's rows of `days` (unless given, all days that have a file), in order of day.

    Days without a file are left out. Raises UsageError when `name` is not a daily table, StorageError, naming the file,
    when one cannot be read.
    """
    import polars as pl  # slow to load, and building tables does not need it

    if name not in TABLES:
        raise UsageError(f"{name!r} is not a daily table", hint=f"there are {', '.join(TABLES)}")
    present = layout.table_days(name)
    chosen = present if days is None else sorted(set(days) & set(present))
    empty = pl.DataFrame(TABLES[name].empty_table())
    parts = [empty]
    for day in chosen:
        path = layout.table(name, day)
        check_table(path, name, day)
        check_types(path, name, day)
        try:
            parts.append(pl.read_parquet(path, glob=False).select(empty.columns))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise unreadable(path, day, error) from error
    return pl.concat(parts)


def table_batches(
    layout: Layout, name: str, day: date, columns: Sequence[str] | None = None
) -> "Iterator[pl.DataFrame]":
    """Yield the rows of one day of a table as `frames_of` does.

    Raises StorageError, naming the file, when it is missing or damaged.
    """
    path = layout.table(name, day)
    check_table(path, name, day)
    try:
        yield from frames_of(path, columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise unreadable(path, day, error) from error


def query_table(
    layout: Layout, name: str, days: Sequence[date], query: "Callable[[pl.LazyFrame], pl.LazyFrame]"
) -> "pl.DataFrame":
    """Return the result of `query` over a table's rows of `days`; only what it needs is read.

    Raises StorageError, naming the file, when one is missing or damaged.
    """
    import polars as pl  # as above

    paths = [layout.table(name, day) for day in days]
    for day, path in zip(days, paths, strict=True):
        check_table(path, name, day)
        check_types(path, name, day)
    try:
        scanned = pl.scan_parquet(paths, glob=False, extra_columns="ignore", schema=types_of(name))
        rows: pl.DataFrame = query(scanned).collect()
        return rows
    except (OSError, pl.exceptions.PolarsError) as error:
        if len(days) == 1:
            raise unreadable(paths[0], days[0], error) from error
        for day in days:  # find the file that is damaged
            query_table(layout, name, [day], query)
        raise


def _view_of_day(connection: duckdb.DuckDBPyConnection, layout: Layout, name: str, day: date) -> None:
    path = layout.table(name, day)
    if not path.is_file():
        raise NoDataError(
            f"there is no table {name} for {day}", hint=f"build it first: flywheel ingest {day}, then label"
        )
    check_table(path, name, day)  # DuckDB would say neither what is wrong nor what to do
    connection.read_parquet(one_file(path)).create_view(name)


def _ingest_counts(connection: duckdb.DuckDBPyConnection, counts: dict[str, Any]) -> None:
    connection.execute("create table ingest_counts (place integer, metric varchar, value double)")
    for place, metric in enumerate(("lines", "accepted", "duplicates", "rejected", "blank", "bytes_read")):
        connection.execute("insert into ingest_counts values (?, ?, ?)", [place, metric, counts[metric]])
