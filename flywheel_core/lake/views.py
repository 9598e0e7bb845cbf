"""DuckDB over the tables and datasets where they lie."""

from pathlib import Path

import duckdb

from flywheel_core.config import Config
from flywheel_core.lake.layout import Layout


def connect(layout: Layout, config: Config) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with a view over every table and dataset."""
    raise NotImplementedError


def write_views_file(layout: Layout) -> Path:
    """Write the views as an SQL file for analysts; gives its path."""
    raise NotImplementedError
