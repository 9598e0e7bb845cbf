"""`flywheel forget`: remove what was received about one person, and show where else it is."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import click

from flywheel_cli.options import Settings, json_option, pass_settings, settings_options, utf8
from flywheel_cli.output import print_json, print_table, progress
from flywheel_core.lake.forgetting import find, holder_of, remove

SETTLED = timedelta(minutes=5)
"""How long after its end a day counts as over: what a collector got before midnight may be written after it."""


@click.command()
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Remove; without this option only show what would go.")
@settings_options
@json_option
@pass_settings
def forget(settings: Settings, texts: tuple[str, ...], yes: bool) -> None:
    """Remove all lines with a text from raw files and rejected points of days that are over; without --yes, only show them.

    Named are all other files of the data folder that hold the text or were made from these days.
    """
    layout = settings.layout
    holds = holder_of([utf8(text, "TEXT") for text in texts])
    with progress("search") as tell:
        found = find(layout, holds, tell)
    now = datetime.now(UTC)
    over = [one for one in found if one.day is not None and is_over(one.day, now)]
    later = [one for one in found if one.day is not None and not is_over(one.day, now)]
    elsewhere = [one for one in found if one.day is None]
    if yes and over:
        remove(layout, [one.path for one in over], holds)
    if settings.as_json:
        print_json({"removed": yes, "over": over, "later": later, "elsewhere": elsewhere})
        return
    if not found:
        click.echo(f"nothing in {layout.root.absolute()} holds it")
        return
    if over:
        print_table(("file", "lines"), [(str(one.path.relative_to(layout.root)), one.lines) for one in over])
        count = sum(one.lines for one in over)
        click.echo(f"{count:,} lines removed" if yes else f"{count:,} lines would go; --yes removes them")
        days = " ".join(sorted({str(one.day) for one in over}))
        click.echo(f"then make these days again: flywheel dagster backfill {days}\n")
    for one in later:
        name = one.path.relative_to(layout.root)
        wait = f"{SETTLED.seconds // 60} minutes after the end of {one.day} (UTC)"
        click.echo(f"{name}, {one.lines:,} lines: left until {wait}")
    folders = Counter(str(one.path.parent.relative_to(layout.root)) for one in elsewhere)
    if folders:
        print_table(("also in, or made from these days", "files"), sorted(folders.items()))


def is_over(day: date, now: datetime) -> bool:
    """Return whether no collector writes to the files of a UTC day any more."""
    return day < (now - SETTLED).date()
