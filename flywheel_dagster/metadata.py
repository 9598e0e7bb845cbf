"""How results look in the UI: numbers that plot over days, charts, Markdown tables, file paths."""

import base64
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from flywheel_core.lake.meanings import MEANINGS
from flywheel_core.lake.tables import TableFile
from flywheel_core.report.chart import Chart
from flywheel_core.report.charts import bar_chart
from flywheel_dagster.partitions import is_open, ranges

MAX_CELL_CHARS = 80
BAR_CHARS = 24
"""Width of a text bar, in characters.

The UI shows Markdown below 1,000 characters inline, a picture only on click.
"""
MAX_NAMED = 10
MAX_ROWS = 500
"""Most rows of a table that are shown: Dagster stores whatever it shows, every night again."""
MARKDOWN_MARKS = frozenset("\\|`*_[]<>$#~")
LOADING_MARKS = frozenset("\\[<")
"""Characters without which Markdown has no pictures, links or tags.

A picture would make the browser of whoever looks at it load its URL.
"""


def of_table(table: TableFile) -> dict[str, Any]:
    """Return what every table shows: rows, bytes, SHA-256, path, columns, and whether its day is open."""
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
    """Return a note that a day may still grow; nothing for a day that is over."""
    return {"open_day": "this day is not over: materialise it again tomorrow"} if is_open(day) else {}


def columns(path: Path, meanings: Mapping[str, str]) -> dg.TableSchema:
    """Return the columns of a Parquet file, with their types and meanings.

    Raises KeyError for one without a meaning.
    """
    schema = pl.scan_parquet(path, glob=False).collect_schema()
    return dg.TableSchema(
        columns=[dg.TableColumn(name, _kind(kind), meanings[name]) for name, kind in schema.items()]
    )


def _kind(kind: pl.DataType) -> str:
    """Return a type without its nested fields.

    The meaning names them; listed here too, they would squeeze the column of meanings to one word's width.
    """
    name, fields, _ = str(kind).partition("({")
    return name + ")" * bool(fields)


def chart(rows: Sequence[tuple[str, float]], *, of: str, title: str, unit: str) -> dg.MarkdownMetadataValue:
    """Return a bar chart as an image that needs no file and no server."""
    return picture(bar_chart(rows, of=of, title=title, unit=unit), title=title)


def picture(drawn: Chart, *, title: str) -> dg.MarkdownMetadataValue:
    """Return a chart as an image that needs no file and no server; in words it is its title and its ranges."""
    packed = base64.b64encode(drawn.svg.encode()).decode()
    told = _escaped(" ".join(f"{title}. {drawn.description}".split()), MARKDOWN_MARKS)
    return dg.MetadataValue.md(f"![{told}](data:image/svg+xml;base64,{packed})")


def shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Return `share_<name>` for each name: a series of its own that plots over days, 0..1.

    There is none when all counts are 0, as on a day without labels: it has no shares.
    """
    total = sum(counts.values())
    return {f"share_{name}": short(count / total) for name, count in counts.items()} if total else {}


def short(value: float) -> float:
    """Round a figure to six decimals, as many as a person reads."""
    return round(value, 6)


def bar(value: float, largest: float) -> str:
    """Return a bar made of characters; a value equal to `largest` is `BAR_CHARS` long."""
    return "█" * round(BAR_CHARS * value / largest) if largest > 0 else ""


def spans(days: Sequence[date]) -> str:
    """Return days in words, consecutive ones as first .. last: `2026-01-01 .. 2026-01-04, 2026-01-09`."""
    parts = [f"{first} .. {last}" if first != last else str(first) for first, last in ranges(days)]
    return ", ".join(parts) or "none"


def rows_of(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> dg.MarkdownMetadataValue:
    """Return a Markdown table of the first `MAX_ROWS` rows, or `none` without rows.

    Numbers are aligned to the right; each cell is one line of at most 80 characters.
    """
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
    """Return names that came from outside as text for a sentence.

    At most `MAX_NAMED` of them, shortened, and escaped so that nothing in them loads or links to anything.
    """
    shown = ", ".join(_escaped(_short_line(name), LOADING_MARKS) for name in names[:MAX_NAMED])
    return shown if len(names) <= MAX_NAMED else f"{shown} and {len(names) - MAX_NAMED:,} more"


def frame(table: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Return a frame as a Markdown table, see `rows_of`."""
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
