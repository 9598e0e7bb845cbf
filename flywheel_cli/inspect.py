"""Inspect the data folder: `status`, `sql` and `report`."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

import click
import duckdb

from flywheel_cli.dagster import home_option
from flywheel_cli.options import Settings, expand_days, json_option, pass_settings, settings_options, utf8
from flywheel_cli.output import print_json, print_rows, print_table, shown, size, some
from flywheel_core.errors import RouterError, StorageError, UsageError
from flywheel_core.lake.atomic import write_atomically
from flywheel_core.lake.first_day import days_before_first, days_to_come
from flywheel_core.lake.views import check_only_reads, connect
from flywheel_core.learn.champion import POINTER, read_champion
from flywheel_core.report.overview import overview
from flywheel_core.report.summary import Summary, summarise

REPORT_DAYS = 30
"""Days in a report without DAY: the last ones that were labelled."""

MAX_CELL_CHARS = 300
"""Longest text shown in a table cell; --json shows everything."""


@click.command()
@click.option(
    "--last", default=10, show_default=True, type=click.IntRange(1, 10_000), help="Days and runs listed."
)
@home_option
@settings_options
@json_option
@pass_settings
def status(settings: Settings, last: int, home: Path) -> None:
    """Show what the data folder holds, by day and by table, and the latest runs of Dagster."""
    facts = overview(settings.layout)
    try:
        champion = read_champion(settings.layout.routers / POINTER)
        in_service = champion.version if champion else None
        serving = f"in service {in_service or '-'}"
    except RouterError as error:  # the rest can still be shown
        in_service, serving = None, error.message
    runs, unreadable = [], None
    try:
        runs = _latest_runs(home, last)
    except StorageError as error:  # usually a full disk, when the rest is all the more useful
        if settings.as_json:
            raise
        unreadable = error
    if settings.as_json:
        print_json({"overview": facts, "in_service": in_service, "runs": runs})
        return
    absent = "" if facts.data_dir.is_dir() else ", which is not there yet; --data-dir names another"
    click.echo(f"data folder {facts.data_dir.absolute()}{absent}\n")
    days = [
        (
            day.day,
            size(day.raw_bytes),
            *(day.rows.get(name) for name in ("responses", "rejects", "training_examples")),
        )
        for day in facts.days[-last:]
    ]
    print_table(
        ("day", "raw", "responses", "rejects", "examples"),
        days,
        title=f"Days, {len(days)} of {len(facts.days)}",
    )
    for unreadable_file in facts.unreadable:
        click.echo(f"{unreadable_file}; its day cannot be made until it is mended or moved away\n")
    if facts.passed_over:
        count = len(facts.passed_over)
        click.echo(
            f"{settings.layout.raw} has {count} {'entry' if count == 1 else 'entries'} that nothing reads, because a raw file is "
            f"named training_data_YYYYMMDD[.WRITER].jsonl[.gz]: {some(facts.passed_over)}\n"
        )
    raw_days = [day.day for day in facts.days if day.raw_files]
    early = days_before_first(raw_days, settings.config)
    for not_made in filter(None, (early, days_to_come(raw_days, datetime.now(UTC).date()))):
        click.echo(f"{not_made}\n")
    tables = [(t.name, t.days, t.rows, size(t.bytes), t.first_day, t.last_day) for t in facts.tables]
    print_table(("table", "days", "rows", "size", "first", "last"), tables, title="Tables")
    last_dataset = f", the last {facts.datasets[-1]}" if facts.datasets else ""
    click.echo(f"datasets: {len(facts.datasets)}{last_dataset}")
    click.echo(f"routers: {len(facts.routers)}, {serving}")
    if runs:
        click.echo()
        columns = ("started", "job", "partition", "status", "seconds")
        rows = [
            (_minute(run["started"]), _job(run["job"]), *(run[column] for column in columns[2:]))
            for run in runs
        ]
        print_table(columns, rows, title="Latest runs")
    if unreadable:
        raise unreadable


def _latest_runs(home: Path, count: int) -> list[dict[str, Any]]:
    """Return the latest runs of the Dagster instance in `home`, newest first; none if Dagster never ran."""
    if not (home / "dagster.yaml").is_file() or not (home / "history").is_dir():
        return []
    import dagster as dg

    from flywheel_dagster.home import readable

    with readable(home), dg.DagsterInstance.from_config(str(home.absolute())) as instance:
        records = instance.get_run_records(limit=count)
    return [
        {
            "run_id": record.dagster_run.run_id,
            "started": None if record.start_time is None else datetime.fromtimestamp(record.start_time, UTC),
            "job": record.dagster_run.job_name,
            "partition": _partition(record.dagster_run.tags),
            "status": record.dagster_run.status.value.lower(),
            "seconds": None
            if record.start_time is None or record.end_time is None
            else record.end_time - record.start_time,
        }
        for record in records
    ]


def _minute(moment: datetime | None) -> str | None:
    """Format a UTC time briefly enough for a table of 80 columns."""
    return None if moment is None else f"{moment:%m-%d %H:%M}"


def _job(name: str) -> str:
    """Return a run's job name, `(assets)` for runs that were started on an asset's page."""
    return "(assets)" if name.startswith("__ASSET_JOB") else name


def _partition(tags: Mapping[str, str]) -> str | None:
    first, last = (
        tags.get("dagster/asset_partition_range_start"),
        tags.get("dagster/asset_partition_range_end"),
    )
    if first and first == last:
        return first
    return tags.get("dagster/partition") or (f"{first}..{last}" if first and last else None)


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
    connection = connect(settings.layout, settings.config)
    try:
        answer = connection.execute(text)
        if answer is None:  # contrary to DuckDB's types: for a query of only blanks or comments
            raise UsageError("the query holds no statement", code="query_failed")
        columns = _told_apart([column[0] for column in answer.description or ()])
        rows = answer.fetchall() if settings.as_json else answer.fetchmany(limit + 1)
    except duckdb.Error as error:
        raise UsageError(
            f"the query failed: {error}", hint="`show tables` lists the views", code="query_failed"
        ) from error
    finally:
        connection.close()
    if settings.as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    print_rows(columns, [[_short(value) for value in row] for row in rows[:limit]])
    if len(rows) > limit:
        click.echo(f"the first {limit} rows; --limit shows more, --json all", err=True)


def _told_apart(names: Sequence[str]) -> list[str]:
    """Make column names unique, a second `a` as `a_2`, because a JSON object has each name once."""
    found: list[str] = []
    for name in names:
        fitting = chain([name], (f"{name}_{number}" for number in count(2)))
        found.append(next(one for one in fitting if one not in found and (one == name or one not in names)))
    return found


def _short(value: Any) -> Any:
    """Prepare a value for a table: numbers and times unchanged, everything else as text of limited length."""
    if value is None or isinstance(value, int | float | datetime):
        return value
    text = str(value)
    return text if len(text) <= MAX_CELL_CHARS else text[: MAX_CELL_CHARS - 1] + "…"


@click.command()
@click.argument("days", metavar="[DAY]...", nargs=-1)
@click.option(
    "--html",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write one self-contained page to this file instead of printing tables.",
)
@settings_options
@json_option
@pass_settings
def report(settings: Settings, days: tuple[str, ...], file: Path | None) -> None:
    """Show labels, models, quality and rejects of days; without DAY, of the last 30 that were labelled.

    DAY is 2026-01-05, today, yesterday, a range 2026-01-01..2026-01-30, or all.
    """
    layout = settings.layout
    labelled = layout.table_days("quality_report")
    named = expand_days(
        days,
        labelled,
        where=layout.tables / "quality_report",
        before="run flywheel ingest all, then flywheel label all,",
    )
    summary = summarise(layout, named if days else labelled[-REPORT_DAYS:])
    if file is not None:
        from flywheel_core.report.html import page

        write_atomically(file, page(summary, made_at=datetime.now(UTC)).encode())
    if settings.as_json:
        print_json(summary)
    elif file is not None:
        click.echo(f"wrote {file}")
    else:
        print_summary(summary)


def print_summary(summary: Summary) -> None:
    """Print the figures of some days as tables, 80 columns wide."""
    first, last = summary.days[0], summary.days[-1]
    click.echo(f"{first}{f' to {last}, {len(summary.days)} days' if last != first else ''}\n")
    labels = [(row.label, row.examples, row.share, row.mean_score) for row in summary.labels]
    print_table(("label", "examples", "share", "mean score"), labels, title="Labels")
    print_table(("rule", "data points"), list(summary.rules.items()), title="Labelling rules")
    models = [
        (
            _short(row.model),
            row.responses,
            row.mean_score,
            row.win_share,
            row.failed_share,
            row.latency_p50,
            row.latency_p95,
        )
        for row in summary.shown_models
    ]
    print_table(("model", "responses", "score", "won", "failed", "p50 ms", "p95 ms"), models, title="Models")
    if len(models) < len(summary.models):
        click.echo(
            f"the {len(models)} with the most responses of {len(summary.models):,}; --json shows all\n"
        )
    quality = [
        ("lines", summary.lines),
        ("data points", summary.points),
        ("duplicates", summary.duplicates),
        ("rejected lines", summary.rejected),
        ("with a label", summary.labelled),
        ("ties", summary.ties),
        ("responses", summary.responses),
        ("failed responses", summary.failed),
        ("responses with a score", summary.scored),
        ("mean best score", summary.mean_best_score),
        (
            "least and largest best score",
            f"{shown(summary.min_best_score)} and {shown(summary.max_best_score)}",
        ),
        ("spend on models", summary.model_spend),
        ("spend on the scorer", summary.scorer_spend),
        ("models without a category", some(summary.unknown_models) or None),
    ]
    print_table(("figure", "value"), [(name, shown(value)) for name, value in quality], title="Quality")
    bins = len(summary.score_histogram)
    spans = [f"{at / bins:.1f} to {(at + 1) / bins:.1f}" for at in range(bins)]
    print_table(
        ("score", "responses"), list(zip(spans, summary.score_histogram, strict=True)), title="Scores"
    )
    print_table(("code", "lines"), list(summary.rejects_by_code.items()), title="Rejects")
