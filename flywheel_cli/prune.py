"""`flywheel prune`: remove old days and versions on request."""

from collections import defaultdict
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from flywheel_cli.dagster import home_option
from flywheel_cli.options import Settings, json_option, pass_settings, settings_options
from flywheel_cli.output import print_json, print_table, progress, size
from flywheel_cli.router import registry_of
from flywheel_core.errors import UsageError
from flywheel_core.learn.pruning import Removal, days_to_prune, first_kept, versions_to_prune
from flywheel_core.learn.pruning import prune as remove


@click.command()
@click.option(
    "--keep-days",
    type=click.IntRange(1),
    metavar="N",
    help="Remove raw files, rejected points, tables and Dagster's runs of days more than N days ago.",
)
@click.option(
    "--keep-versions",
    type=click.IntRange(1),
    metavar="N",
    help="Remove routers and datasets beyond the newest N, except those in service or needed for a rollback.",
)
@click.option(
    "--today",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DAY",
    help="Count back from this day instead of today by the clock; it is then not doubted.",
)
@click.option("--yes", is_flag=True, help="Remove; without this option only show what would go.")
@home_option
@settings_options
@json_option
@pass_settings
def prune(
    settings: Settings,
    keep_days: int | None,
    keep_versions: int | None,
    today: datetime | None,
    yes: bool,
    home: Path,
) -> None:
    """Remove days and versions that nothing needs any more; without --yes, only show them.

    What the dataset window, the router in service and the way back to the ones before it need always stays.
    """
    if keep_days is None and keep_versions is None:
        raise UsageError(
            "no option says what to remove", hint="give --keep-days N, --keep-versions N, or both"
        )
    if today is not None and keep_days is None:
        raise UsageError("--today counts for --keep-days alone", hint="give --keep-days N too")
    registry = registry_of(settings)
    removals: list[Removal] = []
    runs: list[Removal] = []
    if keep_versions is not None:
        removals += versions_to_prune(settings.layout, registry, keep_versions)
    if keep_days is not None:
        from flywheel_dagster.history import has_runs, runs_to_prune

        day = (today or datetime.now(UTC)).date()
        certain = today is not None
        removals += days_to_prune(settings.layout, settings.config, keep_days, day, certain=certain)
        runs = runs_to_prune(home, first_kept(keep_days, day))
        if not has_runs(home):
            click.echo(f"Dagster has no runs in {home.absolute()}; --home names another folder", err=True)
    if yes:
        with progress("prune") as tell:
            remove(removals, registry, tell)
            if runs:
                from flywheel_dagster.history import prune_runs

                prune_runs(home, runs, tell)
    removals += runs
    if settings.as_json:
        print_json({"removed": yes, "removals": [asdict(removal) for removal in removals]})
        return
    if not removals:
        click.echo("nothing to remove")
        return
    found: defaultdict[str, list[Removal]] = defaultdict(list)
    for removal in removals:
        found[removal.kind].append(removal)
    rows = [
        (kind, len(of), of[0].of, of[-1].of, size(sum(one.bytes for one in of))) for kind, of in found.items()
    ]
    print_table(("what", "count", "first", "last", "size"), rows)
    total = size(sum(removal.bytes for removal in removals))
    click.echo(f"{total} removed" if yes else f"{total} would go; --yes removes it")
