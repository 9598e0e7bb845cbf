"""From recorded outcomes and raw files to responses: `import` and `ingest`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import click

from flywheel_cli.options import (
    GET_RAW_DAYS,
    Settings,
    days_argument,
    expand_days,
    json_option,
    pass_settings,
    settings_options,
)
from flywheel_cli.output import print_json, print_table, progress, say_empty, say_rejects, size, some
from flywheel_core.errors import StorageError, UsageError
from flywheel_core.lake.first_day import days_before_first, days_to_come
from flywheel_core.lake.importing import import_files
from flywheel_core.lake.ingest import IngestResult, ingest_day
from flywheel_core.lake.layout import parse_day


@click.command(name="import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--last-day", metavar="DAY", help="Move all points by whole days so that the last one falls on this day."
)
@settings_options
@json_option
@pass_settings
def import_(settings: Settings, files: tuple[Path, ...], last_day: str | None) -> None:
    """Put recorded outcomes (.jsonl or .jsonl.gz) into the raw days of their timestamps.

    Importing a file again changes nothing.
    """
    last = None if last_day is None else parse_day(last_day)
    with progress("import") as tell:
        result = import_files(settings.layout, files, last, tell)
    if settings.as_json:
        print_json(result)
        return
    print_table(
        ("files", "lines", "imported", "duplicates", "rejected", "days"),
        [(len(files), result.lines, result.imported, result.duplicates, result.rejected, len(result.days))],
    )
    if result.days:
        click.echo(f"days {min(result.days)} to {max(result.days)}; raw files in {settings.layout.raw}")
    say_rejects(result.rejected_by_code)
    _say_early(result.days, settings)
    ahead = days_to_come(result.days, datetime.now(UTC).date())
    if ahead:
        click.echo(ahead, err=True)


@click.command()
@days_argument
@settings_options
@json_option
@pass_settings
def ingest(settings: Settings, days: tuple[str, ...]) -> None:
    """Read the raw files of days into the tables responses and rejects.

    DAY is 2026-01-05, today, yesterday, a range 2026-01-01..2026-01-30, or all. The open day may be read while it grows.
    A day that cannot be read stops only itself; the exit status is then 1.
    """
    layout = settings.layout
    raw_days = layout.raw_days()
    chosen = expand_days(days, raw_days, where=layout.raw, before=GET_RAW_DAYS)
    _refuse_future(chosen, raw_days)
    results: list[IngestResult] = []
    failed: dict[date, StorageError] = {}
    for day in chosen:
        try:
            with progress(f"ingest {day}") as tell:
                results.append(ingest_day(layout, day, settings.config, tell))
        except StorageError as error:
            failed[day] = error
    if settings.as_json:
        _raise_failed(failed, len(chosen))
        print_json(results)
        return
    if results:
        _show_ingested(results, settings)
    _raise_failed(failed, len(chosen))


def _show_ingested(results: Sequence[IngestResult], settings: Settings) -> None:
    columns = ("day", "read", "lines", "accepted", "duplicates", "rejected", "blank")
    rows = [
        (
            f"{result.day}{' (open)' if result.open else ''}",
            size(result.bytes_read),
            result.lines,
            result.accepted,
            result.duplicates,
            result.rejected,
            result.blank,
        )
        for result in results
    ]
    print_table(columns, rows)
    say_rejects(sum((Counter(result.rejected_by_code) for result in results), Counter()))
    unknown = sorted({model for result in results for model in result.unknown_models})
    if unknown:
        click.echo(
            f"models without a category, which win no label: {some(unknown)}; give them models.NAME.category"
        )
    say_empty([result.day for result in results if not result.files])
    _say_early((result.day for result in results if result.files), settings)


def _raise_failed(failed: Mapping[date, StorageError], total: int) -> None:
    """Raise StorageError for the days that failed, if any did; it names each of them and why."""
    if not failed:
        return
    (day, first), *others = failed.items()
    if total == 1:
        raise first
    made = "" if len(failed) == total else "; the others are made"
    named = "".join(f"\n  {day}: {error.message}" for day, error in [(day, first), *others])
    raise StorageError(
        f"{len(failed)} of {total} days cannot be made{made}{named}", hint=first.hint
    ) from first


def _refuse_future(days: Sequence[date], raw_days: Iterable[date]) -> None:
    """Raise UsageError for a future day without raw files.

    A mistyped year would otherwise leave empty tables of future days, with which reports would then end.
    """
    today, there = datetime.now(UTC).date(), set(raw_days)
    future = [day for day in days if day > today and day not in there]
    if future:
        raise UsageError(
            f"{future[0]} has not begun yet and has no raw file",
            hint=f"today is {today} in UTC: name days up to that one",
        )


def _say_early(days: Iterable[date], settings: Settings) -> None:
    early = days_before_first(days, settings.config)
    if early:
        click.echo(early, err=True)
