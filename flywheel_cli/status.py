"""`flywheel status`: what the data folder holds, what it cost lately, and the latest runs of Dagster."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from flywheel_cli.dagster import home_option
from flywheel_cli.options import Settings, json_option, pass_settings, settings_options
from flywheel_cli.output import print_json, print_table, shown, size, some
from flywheel_core.errors import RouterError, StorageError
from flywheel_core.lake.first_day import days_before_first, days_to_come
from flywheel_core.learn.champion import POINTER, read_champion
from flywheel_core.report.overview import Overview, overview
from flywheel_core.report.spending import DAYS, Spending, spending

PAGE = 100
"""Runs of Dagster that are read at once."""


@click.command()
@click.option(
    "--last", default=10, show_default=True, type=click.IntRange(1, 10_000), help="Days and runs listed."
)
@home_option
@settings_options
@json_option
@pass_settings
def status(settings: Settings, last: int, home: Path) -> None:
    """Show what the data folder holds, by day and by table, what it cost, and the latest runs of Dagster."""
    facts = overview(settings.layout)
    try:
        champion = read_champion(settings.layout.routers / POINTER)
        in_service = champion.version if champion else None
        serving = f"in service {in_service or '-'}"
    except RouterError as error:  # the rest can still be shown
        in_service, serving = None, error.message
    runs, unreadable = [], None
    try:
        spent = spending(settings.layout)
        paid = _paid(spent) if spent else None
    except StorageError as error:  # the rest can still be shown
        spent, paid = None, f"spend: {error.message}"
    try:
        runs = _latest_runs(home, last)
    except StorageError as error:  # usually a full disk, when the rest is all the more useful
        if settings.as_json:
            raise
        unreadable = error
    if settings.as_json:
        print_json({"overview": facts, "in_service": in_service, "spend": spent, "runs": runs})
        return
    absent = "" if facts.data_dir.is_dir() else ", which is not there yet; --data-dir names another"
    click.echo(f"data folder {facts.data_dir.absolute()}{absent}\n")
    _show_days(facts, settings, last)
    _show_tables(facts)
    last_dataset = f", the last {facts.datasets[-1]}" if facts.datasets else ""
    click.echo(f"datasets: {len(facts.datasets)}{last_dataset}")
    click.echo(f"routers: {len(facts.routers)}, {serving}")
    if paid:
        click.echo(paid)
    _show_runs(runs)
    if unreadable:
        raise unreadable


def _show_days(facts: Overview, settings: Settings, last: int) -> None:
    """Print the last days, then what is in the folder of raw files and is made into no day."""
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


def _show_tables(facts: Overview) -> None:
    """Print the tables, then what is damaged in them."""
    tables = [(t.name, t.days, t.rows, size(t.bytes), t.first_day, t.last_day) for t in facts.tables]
    print_table(("table", "days", "rows", "size", "first", "last"), tables, title="Tables")
    for one in facts.damaged:
        click.echo(f"error[{one.code}]: {one.message}\n  {one.hint}\n")


def _paid(spent: Spending) -> str:
    """Return in words what models and scorer cost, without what no table knows."""
    answers = f"{spent.unpriced:,} answer{'s' if spent.unpriced != 1 else ''}"
    without = f", without {answers} of unknown cost" if spent.unpriced else ""
    return (
        f"spend on collected questions: {shown(spent.on_last_day)} on {spent.last_day}, "
        f"{shown(spent.total)} in the {DAYS} days up to it ({spent.days} with tables){without}"
    )


def _show_runs(runs: Sequence[Mapping[str, Any]]) -> None:
    if not runs:
        return
    columns = ("started", "job", "partition", "status", "seconds")
    rows = [
        (_minute(run["started"]), _job(run["job"]), *(run[column] for column in columns[2:])) for run in runs
    ]
    click.echo()
    print_table(columns, rows, title="Latest runs")


def _latest_runs(home: Path, count: int) -> list[dict[str, Any]]:
    """Return the latest runs of the Dagster instance in `home`, newest first; none if Dagster never ran.

    The hourly runs that only look at the age of the dataset are left out when they succeeded.
    """
    if not (home / "dagster.yaml").is_file() or not (home / "history").is_dir():
        return []
    import dagster as dg

    from flywheel_dagster.freshness import FRESHNESS_JOB
    from flywheel_dagster.home import readable

    records: list[dg.RunRecord] = []
    with readable(home), dg.DagsterInstance.from_config(str(home.absolute())) as instance:
        page = instance.get_run_records(limit=PAGE)
        while page and len(records) < count:
            records += [
                record
                for record in page
                if record.dagster_run.job_name != FRESHNESS_JOB or not record.dagster_run.is_success
            ]
            page = instance.get_run_records(cursor=page[-1].dagster_run.run_id, limit=PAGE)
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
        for record in records[:count]
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
