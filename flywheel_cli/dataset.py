"""From responses to a dataset: `label` and `dataset`."""

from collections import Counter
from datetime import UTC, date, datetime

import click

from flywheel_cli.options import (
    Settings,
    days_argument,
    expand_days,
    json_option,
    pass_settings,
    settings_options,
)
from flywheel_cli.output import plain, print_json, print_rows, print_table, progress
from flywheel_core.lake.dataset import DatasetResult, build_dataset
from flywheel_core.lake.tables import SOURCES, TableFile, build_table, read_table
from flywheel_core.lake.views import write_views_file


@click.command()
@days_argument
@settings_options
@json_option
@pass_settings
def label(settings: Settings, days: tuple[str, ...]) -> None:
    """Label the responses of days, and build their distribution, leaderboard and quality report.

    DAY is as for `ingest`; `all` means every day that was ingested.
    """
    layout = settings.layout
    chosen = expand_days(
        days,
        layout.table_days("responses"),
        where=layout.tables / "responses",
        before="run flywheel ingest all",
    )
    built: list[TableFile] = []
    with progress("label") as tell:
        for day in chosen:
            for name in SOURCES:
                built.append(build_table(layout, name, day, settings.config))
                tell(len(built), len(chosen) * len(SOURCES))
    if settings.as_json:
        print_json(built)
        return
    labels = read_table(layout, "training_examples", chosen).select("day", "label")
    counts: dict[date, Counter[str | None]] = {day: Counter() for day in chosen}
    for day, name in labels.iter_rows():
        counts[day][name] += 1
    names = sorted({name for found in counts.values() for name in found if name is not None})
    print_rows(  # there may be many labels
        ("day", "examples", *names, "no label"),
        [
            (day, sum(found.values()), *(found[name] for name in names), found[None])
            for day, found in counts.items()
        ],
    )


@click.command()
@days_argument
@settings_options
@json_option
@pass_settings
def dataset(settings: Settings, days: tuple[str, ...]) -> None:
    """Build the training dataset of the window that ends with each DAY.

    DAY is as for `ingest`; `all` means every day up to today that was labelled. A dataset that already exists stays as it is.
    """
    layout = settings.layout
    today = datetime.now(UTC).date()
    chosen = expand_days(
        days,
        # a dataset of a future day, as a wrong clock leaves it, would be the newest until that day
        [day for day in layout.table_days("training_examples") if day <= today],
        where=layout.tables / "training_examples",
        before="run flywheel ingest all, then flywheel label all,",
    )
    results: list[DatasetResult] = []
    with progress("dataset") as tell:
        for day in chosen:
            results.append(build_dataset(layout, day, settings.config))
            tell(len(results), len(chosen))
    if results:
        write_views_file(layout)
    if settings.as_json:
        print_json(results)
        return
    figures = ("train", "validation", "test", "unlabelled", "repeats")
    print_table(
        ("version", *figures),
        [(result.version, *(result.manifest["counts"][name] for name in figures)) for result in results],
    )
    for result in results:
        for cap in result.manifest["group_caps"]:
            click.echo(
                f"{result.version}: {cap['group']} {plain(cap['name'])} gave {cap['examples']} training examples "
                + (
                    f"in all; scores are learned from {cap['kept']}"
                    if cap["label"] is None
                    else f"of {cap['label']}; {cap['kept']} were kept"
                )
                + " (dataset.max_group_share)"
            )
        capped = result.manifest["counts"]["weight_capped"]
        if capped:
            click.echo(
                f"{result.version}: {capped} questions were asked more than {settings.config.dataset.max_weight} times, and count "
                "for so many (dataset.max_weight)"
            )
    click.echo(f"datasets in {layout.datasets}")
