"""What the data folder holds: days, tables, datasets and routers, with counts and sizes.

Reads no rows, only the files' footers.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from flywheel_core.lake.dataset import dataset_versions
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import DAILY_TABLES, row_count
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
class Overview:
    """The contents of the data folder.

    datasets: versions, the latest last; routers: versions, in order of name.
    """

    data_dir: Path
    days: tuple[DayFacts, ...]
    tables: tuple[TableFacts, ...]
    datasets: tuple[str, ...]
    routers: tuple[str, ...]


def overview(layout: Layout) -> Overview:
    """Return what is there now. Raises StorageError, naming the file, for a table that cannot be read."""
    raw = layout.raw_files_by_day()
    rows: dict[date, dict[str, int]] = {day: {} for day in raw}
    tables = []
    for name in DAILY_TABLES:
        counts, size = {}, 0
        for day in layout.table_days(name):
            path = layout.table(name, day)
            counts[day] = row_count(path, day)
            size += path.stat().st_size
            rows.setdefault(day, {})[name] = counts[day]
        days = sorted(counts)
        first, last = (days[0], days[-1]) if days else (None, None)
        tables.append(TableFacts(name, len(days), sum(counts.values()), size, first, last))
    facts = [
        DayFacts(
            day,
            len(raw.get(day, ())),
            sum(path.stat().st_size for path in raw.get(day, ())),
            rows[day],
        )
        for day in sorted(rows)
    ]
    return Overview(
        layout.root,
        tuple(facts),
        tuple(tables),
        tuple(dataset_versions(layout)),
        tuple(router_versions(layout)),
    )
