"""What commands print: tables and JSON on standard output, errors and progress on standard error."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click
import msgspec

from flywheel_core.errors import FlywheelError

PLAIN_WIDTH = 80
"""Width of tables, in columns, when standard output is not a terminal."""

READABLE_COLUMNS = 6
"""Terminal columns below which a wrapped cell is no longer readable."""

NAMED = 5
"""Most days or models that a message names individually."""

MAX_CELL_CHARS = 300
"""Longest text shown in a table cell; --json shows everything."""

PLAIN_PROGRESS_SECONDS = 5.0
"""Seconds between progress lines without a terminal."""


def prepare_streams() -> None:
    """Read and write files and pipes as UTF-8, whatever the system's encoding is; what is closed leads nowhere.

    A terminal keeps its own encoding; what it cannot show is spelled out.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # as by `2>&-`; the next file that is opened would take its number
            nowhere = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - it stays open
            os.set_inheritable(nowhere.fileno(), True)
            setattr(sys, name, nowhere)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            encoding = None if stream.isatty() else "utf-8"
            errors = "surrogateescape" if stream is sys.stdin else "backslashreplace"
            stream.reconfigure(encoding=encoding, errors=errors)


def print_error(error: FlywheelError, *, as_json: bool) -> None:
    """Print `error[code]: message` and the hint to standard error, or one JSON object to standard output."""
    if as_json:
        print_json({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
        return
    click.echo(f"error[{error.code}]: {visible(error.message)}", err=True)
    if error.hint:
        click.echo(f"  {visible(error.hint)}", err=True)


def print_json(value: Any) -> None:
    """Print a JSON value, also dataclasses, dates, times and paths; NaN and infinity become null."""
    encoded = msgspec.json.encode(value, enc_hook=_plain)
    click.echo(visible_json(msgspec.json.format(encoded, indent=2).decode()))


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bool):  # the key of a mapping, as DuckDB's histogram has it
        return "true" if value else "false"
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def shown(value: Any) -> str:
    """Format a table cell: `-` for None, thousands separators, three decimals, or two digits if those are zeros."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.2g}" if 0 < abs(value) < 0.001 else f"{value:,.3f}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return value.isoformat() if isinstance(value, date) else str(value)


def short_cell(value: Any) -> Any:
    """Prepare a value for a table: numbers and times unchanged, everything else as text of limited length."""
    if value is None or isinstance(value, int | float | datetime):
        return value
    text = str(value)
    return text if len(text) <= MAX_CELL_CHARS else text[: MAX_CELL_CHARS - 1] + "…"


_FIGURE = re.compile(r"[+-]?\d[\d,]*(\.\d+)?(e[+-]\d+)?%?")
_COMMANDS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""Control characters, which a terminal would execute; questions and model names come from strangers."""
_LEFT_BY_JSON = {code: f"\\u{code:04x}" for code in range(127, 160)}


def size(count: int) -> str:
    """Format a number of bytes for people: `18.4 MB`."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None) -> None:
    """Print rows under their columns, numbers right-aligned; 80 columns wide without a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = _console()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, column in enumerate(columns):
        values = [row[index] for row in rows]
        # as text: what looks like markup is part of a name
        table.add_column(
            _cell(column),
            justify="right" if are_figures(values) else "left",
            overflow="fold",
            no_wrap=any(type(value) is date for value in values),
        )
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    if title:
        console.print(Text(visible(title), "bold"))
    console.print(table)
    console.print()


def are_figures(values: Sequence[Any]) -> bool:
    """Return whether a column has numbers, or texts that all are figures, such as `+0.107` and `69%`."""
    texts = [value for value in values if isinstance(value, str) and value != "-"]
    return any(isinstance(value, int | float) for value in values) or (
        bool(texts) and all(_FIGURE.fullmatch(text) for text in texts)
    )


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows as a table, or each row as its own table if the columns do not fit side by side."""
    widths = [max(map(len, (name, *(shown(row[at]) for row in rows)))) for at, name in enumerate(columns)]
    needed = sum(min(width, READABLE_COLUMNS) for width in widths) + 3 * (len(columns) - 1)
    if needed <= _console().width:
        print_table(columns, rows)
        return
    for number, row in enumerate(rows, 1):
        print_table(
            ("column", "value"),
            [(name, shown(value)) for name, value in zip(columns, row, strict=True)],
            title=f"Row {number}",
        )
    if not rows:
        _console().print(f"no rows; columns: {visible(', '.join(columns))}", markup=False)


def _console() -> Any:
    from rich.console import Console

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)


def fitted(text: str, width: int) -> str:
    """Return `text` on one line, cut to `width` columns with `…`; a Chinese character takes two columns."""
    from rich.cells import cell_len, set_cell_size

    line = " ".join(text.split())
    return line if cell_len(line) <= width else set_cell_size(line, width - 1).rstrip() + "…"


def say_rejects(by_code: Mapping[str, int]) -> None:
    """Print how many lines were rejected, by code; print nothing if none were."""
    if by_code:
        click.echo("rejected: " + ", ".join(f"{code} {count:,}" for code, count in sorted(by_code.items())))


def say_empty(days: Sequence[date]) -> None:
    """Name the days that were built without any raw file; print nothing if there are none."""
    if days:
        click.echo(f"days without a raw file: {some(days)}", err=True)


def some(names: Sequence[object]) -> str:
    """List days or models in a sentence, at most five by name: `a, b, c, d, e and 3 more`."""
    further = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(plain(str(name)) for name in names[:NAMED]) + further


def plain(name: str) -> str:
    """Return a name that came from outside for use in a sentence: short, on one line, without control characters."""
    return fitted(visible(name), PLAIN_WIDTH)


def visible(text: str) -> str:
    """Return a text that came from outside with its control characters spelled out, as `\\x1b`."""
    return text.translate(_COMMANDS)


def visible_json(text: str) -> str:
    """Return a JSON text of the same value with those control characters escaped that JSON itself leaves as they are."""
    return text.translate(_LEFT_BY_JSON)


def _cell(value: Any) -> Any:
    from rich.text import Text

    return Text(visible(shown(value)))


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of long work on standard error: a bar on a terminal, otherwise a line now and then.

    Yields the function to call with the amount done and the total amount.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(file=sys.stderr), transient=True) as bars:
            task = bars.add_task(what, total=None)
            yield lambda done, total: bars.update(task, completed=done, total=total)
        return
    told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= PLAIN_PROGRESS_SECONDS:
            told = now
            click.echo(f"{what}: {done / max(total, 1):.0%}", err=True)

    yield tell
