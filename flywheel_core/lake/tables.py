"""The daily tables: which there are, how one is built from the day's others, how they are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from flywheel_core.config import Config
from flywheel_core.lake.layout import Layout

DAILY_TABLES = (
    "responses",
    "rejects",
    "training_examples",
    "label_distribution",
    "model_leaderboard",
    "quality_report",
)
"""The daily tables in the order in which they are built."""


@dataclass(frozen=True)
class TableFile:
    """One table's file of one day, as written; `sha256` is hex, of the whole file."""

    name: str
    day: date
    path: Path
    rows: int
    sha256: str


def build_table(layout: Layout, name: str, day: date, config: Config) -> TableFile:
    """Build one of the four derived tables from the day's own tables."""
    raise NotImplementedError


def read_table(layout: Layout, name: str, days: Sequence[date] | None = None) -> pl.DataFrame:
    """A table's rows of `days` (all days that have a file unless given), in order of day."""
    raise NotImplementedError
