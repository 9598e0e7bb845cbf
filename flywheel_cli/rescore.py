"""`flywheel rescore`: score stored answers again, after an outage of the scorer or with a new one."""

from collections import Counter
from dataclasses import asdict

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
from flywheel_cli.output import print_json, print_table
from flywheel_core.collect.rescore import RescoreResult, rescore_day


@click.command()
@days_argument
@click.option(
    "--all-answers",
    is_flag=True,
    help="Score all stored answers, even those that have a score, for use with a new scorer.",
)
@settings_options
@json_option
@pass_settings
def rescore(settings: Settings, days: tuple[str, ...], all_answers: bool) -> None:
    """Score stored answers again: those that have no score, after an outage of the scorer, or all of them.

    DAY is 2026-01-05, today, yesterday, a range FIRST..LAST, or all. The models are not asked again, and what was
    received stays as it is: ingest the day again to take the new scores in.
    """
    done: dict[str, RescoreResult] = {}
    layout = settings.layout
    for day in expand_days(days, layout.raw_days(), where=layout.raw, before=GET_RAW_DAYS):
        click.echo(f"rescore {day}", err=True)
        done[day.isoformat()] = rescore_day(layout, day, settings.config, every=all_answers)
    if settings.as_json:
        print_json({day: asdict(result) for day, result in done.items()})
        return
    rows = [(day, found.points, found.improved, found.scores, found.missing) for day, found in done.items()]
    what = ("points", "scored again") if all_answers else ("points without a score", "improved")
    missing = "without a new score" if all_answers else "still missing"
    print_table(("day", *what, "scores", missing), rows)
    reasons: Counter[str] = Counter()
    for found in done.values():
        reasons.update(found.reasons)
    if reasons:
        click.echo(f"{missing}: " + ", ".join(f"{code} {count:,}" for code, count in sorted(reasons.items())))
    improved = " ".join(day for day, found in done.items() if found.improved)
    if improved:
        click.echo(f"take the new scores in: flywheel ingest {improved}, then flywheel label {improved}")
