"""How results look in the UI: numbers that plot over days, charts, Markdown tables, where the file lies."""

import base64
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from flywheel_core.lake.meanings import MEANINGS
from flywheel_core.lake.tables import TableFile
from flywheel_core.report.charts import bar_chart
from flywheel_dagster.partitions import is_open, ranges

MAX_CELL_CHARS = 80
BAR_CHARS = 24
"""Width of a bar drawn in text. The UI shows Markdown of less than 1,000 characters at once, a picture after a click."""
MAX_NAMED = 10
MAX_ROWS = 500
"""Rows of a table that are shown: Dagster keeps what it shows, each night's again."""
MARKDOWN_MARKS = frozenset("\\|`*_[]<>$#~")
LOADING_MARKS = frozenset("\\[<")
"""Without these Markdown has neither pictures nor links nor tags: a picture's address would be asked by whoever looks at it."""


def of_table(table: TableFile) -> dict[str, Any]:
    """What every table shows: rows, bytes, SHA-256, path, columns, and whether its day is still open."""
    return {
        "rows": table.rows,
        "dagster/row_count": table.rows,
        "bytes": table.path.stat().st_size,
        "sha256": table.sha256,
        "file": dg.MetadataValue.path(str(table.path.absolute())),
        "dagster/column_schema": columns(table.path, MEANINGS[table.name]),
        **open_mark(table.day),
    }


def open_mark(day: date) -> dict[str, Any]:
    """Says that a day may still grow; nothing for a day that is over."""
    return {"open_day": "this day is not over: materialise it again tomorrow"} if is_open(day) else {}


def columns(path: Path, meanings: Mapping[str, str]) -> dg.TableSchema:
    """The columns of a Parquet file, their types and what they mean; each must have its meaning."""
    schema = pl.read_parquet_schema(path)
    return dg.TableSchema(
        columns=[dg.TableColumn(name, _kind(kind), meanings[name]) for name, kind in schema.items()]
    )


def _kind(kind: pl.DataType) -> str:
    """A type without its fields, which the meaning names: listed, they leave the meaning a column one word wide."""
    name, fields, _ = str(kind).partition("({")
    return name + ")" * bool(fields)


def chart(rows: Sequence[tuple[str, float]], *, title: str, unit: str) -> dg.MarkdownMetadataValue:
    """A bar chart as an image that needs no file and no server."""
    return picture(bar_chart(rows, title=title, unit=unit), title=title)


def picture(svg: str, *, title: str) -> dg.MarkdownMetadataValue:
    """A chart that was drawn, as an image that needs no file and no server."""
    packed = base64.b64encode(svg.encode()).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/svg+xml;base64,{packed})")


def shares(counts: Mapping[str, int]) -> dict[str, float]:
    """`share_<name>` for each name: a series of its own that plots over days, 0 where there is nothing."""
    total = sum(counts.values())
    return {f"share_{name}": short(count / total) if total else 0.0 for name, count in counts.items()}


def short(value: float) -> float:
    """A figure with as many digits as a person reads."""
    return round(value, 6)


def bar(value: float, largest: float) -> str:
    """A bar of text, as long as `value` is of `largest`."""
    return "█" * round(BAR_CHARS * value / largest) if largest > 0 else ""


def spans(days: Sequence[date]) -> str:
    """Days in words, unbroken ones as first .. last: `2026-01-01 .. 2026-01-04, 2026-01-09`."""
    parts = [f"{first} .. {last}" if first != last else str(first) for first, last in ranges(days)]
    return ", ".join(parts) or "none"


def rows_of(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> dg.MarkdownMetadataValue:
    """A Markdown table of the first `MAX_ROWS` rows; numbers to the right, cells on one line and at most 80 characters. Without rows:
    `none`."""
    if not rows:
        return dg.MetadataValue.md("none")
    numeric = [all(isinstance(row[at], int | float) for row in rows) for at in range(len(headers))]
    lines = [
        "| " + " | ".join(headers) + " |",
        "| " + " | ".join("---:" if right else "---" for right in numeric) + " |",
        *("| " + " | ".join(_cell(value) for value in row) + " |" for row in rows[:MAX_ROWS]),
    ]
    if len(rows) > MAX_ROWS:
        lines += ["", f"and {len(rows) - MAX_ROWS:,} more"]
    return dg.MetadataValue.md("\n".join(lines))


def named(names: Sequence[str]) -> str:
    """Names that came from outside, for a sentence: at most `MAX_NAMED` of them, short, and nothing that loads or leads anywhere."""
    shown = ", ".join(_escaped(_short_line(name), LOADING_MARKS) for name in names[:MAX_NAMED])
    return shown if len(names) <= MAX_NAMED else f"{shown} and {len(names) - MAX_NAMED:,} more"


def frame(table: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """A frame as a Markdown table, see `rows_of`."""
    return rows_of(table.columns, table.rows())


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1_000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return _escaped(_short_line(str(value)), MARKDOWN_MARKS)


def _short_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_CELL_CHARS else line[: MAX_CELL_CHARS - 1] + "…"


def _escaped(text: str, marks: frozenset[str]) -> str:
    return "".join(f"\\{mark}" if mark in marks else mark for mark in text)
