"""`flywheel sql`: run a query over the tables."""

import sys
from collections.abc import Sequence
from itertools import chain, count

import click
import duckdb

from flywheel_cli.options import Settings, json_option, pass_settings, settings_options, utf8
from flywheel_cli.output import print_json, print_rows, short_cell
from flywheel_core.errors import UsageError
from flywheel_core.lake.views import check_only_reads, connect, damage_in


@click.command()
@click.argument("query")
@click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="Rows that a table shows.",
)
@settings_options
@json_option
@pass_settings
def sql(settings: Settings, query: str, limit: int) -> None:
    """Run QUERY (DuckDB SQL) over the tables and datasets; - reads it from standard input.

    Every table is a view of the same name over all days: flywheel sql "select day, label, count(*) from training_examples
    group by all". --json prints every row.
    """
    text = utf8(sys.stdin.read() if query == "-" else query, "the query")
    check_only_reads(text)
    with connect(settings.layout, settings.config) as connection:
        try:
            answer = connection.execute(text)
            if answer is None:  # contrary to DuckDB's types: for a query of only blanks or comments
                raise UsageError("the query holds no statement", code="query_failed")
            columns = _told_apart([column[0] for column in answer.description or ()])
            rows = answer.fetchall() if settings.as_json else answer.fetchmany(limit + 1)
        except duckdb.Error as error:
            wrong = UsageError(
                f"the query failed: {error}", hint="`show tables` lists the views", code="query_failed"
            )
            raise damage_in(settings.layout, error) or wrong from error
    if settings.as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    print_rows(columns, [[short_cell(value) for value in row] for row in rows[:limit]])
    if len(rows) > limit:
        click.echo(f"the first {limit} rows; --limit shows more, --json all", err=True)


def _told_apart(names: Sequence[str]) -> list[str]:
    """Make column names unique, a second `a` as `a_2`, because a JSON object has each name once."""
    found: list[str] = []
    for name in names:
        fitting = chain([name], (f"{name}_{number}" for number in count(2)))
        found.append(next(one for one in fitting if one not in found and (one == name or one not in names)))
    return found
