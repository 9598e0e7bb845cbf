"""Opens DuckDB for queries over the tables and datasets on disk, and writes the views of them to a file."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from glob import escape
from pathlib import Path

import duckdb
import pyarrow as pa

from flywheel_core.config import Config
from flywheel_core.errors import StorageError, UsageError
from flywheel_core.lake.atomic import write_atomically
from flywheel_core.lake.dataset import latest_dataset
from flywheel_core.lake.dataset_files import EXAMPLES_FILE
from flywheel_core.lake.engine import open_engine, quoted
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.schemas import EXAMPLES, TABLES

VIEWS_FILE = "views.sql"

_WRITING = frozenset(("attach", "copy", "export", "import", "import_database", '"import_database"'))
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


@contextmanager
def connect(layout: Layout, config: Config) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an in-memory DuckDB with a view of every table and dataset, for queries.

    Views: the daily tables under their names; `dataset_examples`, the examples of all versions with a column `version`;
    `training_dataset`, those of the latest version. A table without any file is an empty view with the right columns; a
    column that a file of an earlier version of Flywheel lacks is null. The tables `models` and `settings` hold the
    configuration. Nothing outside the data folder can be read, and no DuckDB setting can be changed. A file that cannot
    be read fails the queries of its view alone; see `damage_in`.
    """
    # The folder is closed to other users: what DuckDB spills there are questions and answers.
    with (
        tempfile.TemporaryDirectory(prefix="flywheel-sql-") as scratch,
        closing(open_engine(config, scratch)) as connection,
    ):
        for name, (statement, schema) in _views(layout).items():
            try:
                connection.execute(statement)
            except duckdb.Error as error:
                connection.execute(_without_rows(name, schema, f"error({quoted(_first_line(error))})"))
        # DuckDB checks patterns as well as files against the allowed folders.
        root = f"{layout.root.resolve()}/"
        connection.execute(f"set allowed_directories = [{quoted(root)}, {quoted(escape(root))}]")
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
        yield connection


def damage_in(layout: Layout, error: duckdb.Error) -> StorageError | None:
    """Return the error for a query that met a table or dataset that cannot be read, None for a wrong query."""
    says, root = _first_line(error), f"{layout.root.resolve()}/"
    is_of_a_file = isinstance(error, duckdb.InvalidInputException | duckdb.IOException)
    if not is_of_a_file or (f"'{root}" not in says and f'"{root}' not in says):
        return None
    return StorageError(
        f"a table or dataset cannot be read: {says}",
        hint="make that day or dataset again, or move the file away",
    )


def _first_line(error: duckdb.Error) -> str:
    return str(error).partition("\n")[0].removeprefix("Invalid Input Error: ")


def check_only_reads(query: str) -> None:
    """Raise UsageError when a query may write files: DuckDB allows both reading and writing in an allowed folder.

    Such a query is recognised by its keywords, because a writing statement may be inside another one, for instance after
    `explain analyze`.
    """
    text = _NOT_ASCII.sub(" ", query)  # DuckDB accepts any Unicode space, and its token positions count bytes
    starts = [start for start, _ in duckdb.tokenize(text)]
    words = (text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=False))
    for word in words:
        if (found := word.strip().lower()) in _WRITING:
            raise UsageError(
                f"the query may write files, by {found}; tables and datasets are only read",
                hint=f'redirect the output of --json to a file instead; a column of that name is written "{found}"',
                code="query_failed",
            )


def write_views_file(layout: Layout) -> Path:
    """Write the views to `views.sql` in the data folder, for any DuckDB client: `.read views.sql`.

    Raises StorageError when the file cannot be written.
    """
    path = layout.root / VIEWS_FILE
    write_atomically(path, "\n".join(statement for statement, _ in _views(layout).values()).encode())
    return path


def _views(layout: Layout) -> dict[str, tuple[str, pa.Schema]]:
    """Return each view's name, statement and columns."""
    views = {
        name: _view(name, schema, layout.tables / name, "????-??-??.parquet", bool(layout.table_days(name)))
        for name, schema in TABLES.items()
    }
    version = latest_dataset(layout)
    views["dataset_examples"] = _view(
        "dataset_examples",
        EXAMPLES,
        layout.datasets,
        f"[0-9]*/{EXAMPLES_FILE}",
        version is not None,
        "parse_path(filename)[-2]",
    )
    views["training_dataset"] = _view(
        "training_dataset",
        EXAMPLES,
        layout.dataset(version or "none"),
        EXAMPLES_FILE,
        version is not None,
        quoted(version or ""),
    )
    return views


def _view(
    name: str, schema: pa.Schema, folder: Path, pattern: str, present: bool, version: str | None = None
) -> tuple[str, pa.Schema]:
    """Return a view's statement and columns. version: SQL for a first column of that name."""
    columns = schema if version is None else schema.insert(0, pa.field("version", pa.string()))
    if not present:
        return _without_rows(name, columns, "false"), columns
    chosen = "*" if version is None else f"{version} as version, * exclude (filename)"
    # Files of an earlier version of Flywheel lack columns. Without the list DuckDB has only those of the first file.
    wanted = ",\n    ".join(
        f"'{field.name}': {{name: '{field.name}', type: '{_type(field.type)}', default_value: null}}"
        for field in schema
    )
    options = f"schema = map {{\n    {wanted}\n}}{'' if version is None else ', filename = true'}"
    return (
        f"create or replace view {name} as\nselect {chosen}\n"
        f"from read_parquet({_files(folder.resolve(), pattern)}, {options});\n",
        columns,
    )


def _without_rows(name: str, schema: pa.Schema, condition: str) -> str:
    """Return the statement of a view that has the columns and no rows, because `condition` is false or an error."""
    empty = ",\n    ".join(f'cast(null as {_type(field.type)}) as "{field.name}"' for field in schema)
    return f"create or replace view {name} as\nselect\n    {empty}\nwhere {condition};\n"


def _files(folder: Path, pattern: str) -> str:
    """Return a folder's files as an argument for DuckDB: a pattern, which also finds files that come later.

    DuckDB splits patterns at backslashes, so for a folder with a backslash in its path the files are listed instead.
    """
    if "\\" not in str(folder):
        return quoted(f"{escape(str(folder))}/{pattern}")
    return f"[{', '.join(quoted(str(path)) for path in sorted(folder.glob(pattern)))}]"


def _type(kind: pa.DataType) -> str:
    """Return the SQL type of an Arrow type."""
    if pa.types.is_list(kind):
        return f"{_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return f"struct({', '.join(f'{field.name} {_type(field.type)}' for field in kind)})"
    return _SQL_TYPES[kind]


_SQL_TYPES = {
    pa.string(): "varchar",
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.date32(): "date",
}
