"""What the data folder holds: days, tables, datasets and routers, with counts and sizes.

Reads no rows, only the files' footers.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from flywheel_core.errors import StorageError
from flywheel_core.lake.dataset import dataset_versions
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.raw_lines import file_size
from flywheel_core.lake.table_files import row_count
from flywheel_core.lake.tables import DAILY_TABLES
from flywheel_core.learn.champion import router_versions


@dataclass(frozen=True)
class DayFacts:
    """One day. rows: table -> number of rows, for the tables that the day has."""

    day: date
    raw_files: int
    raw_bytes: int
    rows: dict[str, int]


@dataclass(frozen=True)
class TableFacts:
    """One daily table over all its days."""

    name: str
    days: int
    rows: int
    bytes: int
    first_day: date | None
    last_day: date | None


@dataclass(frozen=True)
class DamagedTable:
    """One day of a table that cannot be read, why, and what to do."""

    table: str
    day: date
    code: str
    message: str
    hint: str | None


@dataclass(frozen=True)
class Overview:
    """The contents of the data folder.

    unreadable: a message for each raw file whose size cannot be read; passed_over: names among the raw files
    that nothing reads; damaged: tables whose rows are in no count; datasets: versions, the latest last;
    routers: versions, in order of name.
    """

    data_dir: Path
    days: tuple[DayFacts, ...]
    unreadable: tuple[str, ...]
    passed_over: tuple[str, ...]
    tables: tuple[TableFacts, ...]
    damaged: tuple[DamagedTable, ...]
    datasets: tuple[str, ...]
    routers: tuple[str, ...]


def overview(layout: Layout) -> Overview:
    """Return what is there now."""
    raw = layout.raw_files_by_day()
    rows: dict[date, dict[str, int]] = {day: {} for day in raw}
    tables, damaged = [], []
    for name in DAILY_TABLES:
        count = size = 0
        days = layout.table_days(name)
        for day in days:
            path, known = layout.table(name, day), rows.setdefault(day, {})
            try:
                known[name] = row_count(path, day)
            except StorageError as error:  # one day of one table: everything else can still be told
                damaged.append(DamagedTable(name, day, error.code, error.message, error.hint))
                continue
            count += known[name]
            size += path.stat().st_size
        first, last = (days[0], days[-1]) if days else (None, None)
        tables.append(TableFacts(name, len(days), count, size, first, last))
    facts, unreadable = [], []
    for day in sorted(rows):
        size = 0
        for path in raw.get(day, ()):
            try:
                size += file_size(path)
            except StorageError as error:  # one file: everything else can still be told
                unreadable.append(str(error.message))
        facts.append(DayFacts(day, len(raw.get(day, ())), size, rows[day]))
    return Overview(
        layout.root,
        tuple(facts),
        tuple(unreadable),
        tuple(layout.passed_over()),
        tuple(tables),
        tuple(damaged),
        tuple(dataset_versions(layout)),
        tuple(router_versions(layout)),
    )
