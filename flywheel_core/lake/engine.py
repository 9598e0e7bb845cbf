"""Opens DuckDB as every step uses it, in memory with bounded resources, and reads the SQL files."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from importlib.resources import files
from pathlib import Path

import duckdb

from flywheel_core.config import Config
from flywheel_core.errors import StorageError
from flywheel_core.lake.atomic import own_folder
from flywheel_core.lake.layout import Layout

THREADS = 2


@contextmanager
def engine(layout: Layout, config: Config) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection that holds the configuration in the tables `models` and `settings`.

    The folder to which DuckDB spills is removed at the end. Raises StorageError when its parent cannot be made.
    """
    scratch = layout.root / ".scratch" / uuid.uuid4().hex
    try:
        own_folder(scratch.parent)  # DuckDB makes only the last folder of a path
    except OSError as error:
        raise StorageError(f"cannot make the folder {scratch.parent}: {error.strerror or error}") from error
    connection = open_engine(config, str(scratch))
    try:
        yield connection
    finally:
        connection.close()
        shutil.rmtree(scratch, ignore_errors=True)


def open_engine(config: Config, scratch: str) -> duckdb.DuckDBPyConnection:
    """Open a connection like that of `engine`; the caller closes it and removes the folder `scratch`."""
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": THREADS,
            "memory_limit": f"{config.storage.memory_limit_mb}MB",
            "temp_directory": scratch,
        },
    )
    # That of the machine otherwise, by which a time may be of another day than its row's.
    connection.execute("set TimeZone = 'UTC'")
    connection.execute(sql("settings"), _settings(config))
    order = {model: place for place, model in enumerate(config.declared_order())}
    connection.execute("create table models (model varchar, category varchar, declared integer)")
    for name, model in config.models.items():
        connection.execute("insert into models values (?, ?, ?)", [name, model.category, order[name]])
    return connection


def sql(name: str) -> str:
    """Return the text of `flywheel_core/lake/sql/<name>.sql`."""
    return files("flywheel_core.lake").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def quoted(text: str) -> str:
    """Return `text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def one_file(path: Path) -> str:
    """Return a file's path for DuckDB, which takes it for a pattern: `a[1]` would match the neighbouring folder `a1`.

    A path that contains a backslash is not escaped, because DuckDB splits patterns there and would find nothing.
    """
    text = str(path)
    return text if "\\" in text else escape(text)


def _settings(config: Config) -> dict[str, float | str | None]:
    labelling = config.labelling
    preferences = [*dict.fromkeys(labelling.tie_preference), None, None, None][:3]
    return {
        "min_score": labelling.min_score,
        "tie_tolerance": labelling.tie_tolerance,
        "preference_1": preferences[0],
        "preference_2": preferences[1],
        "preference_3": preferences[2],
        "max_weight": config.dataset.max_weight,
        "score_cost": config.data_collection.score_cost * config.data_collection.score_repeats,
    }
