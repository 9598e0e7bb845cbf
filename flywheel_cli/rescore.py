"""`flywheel rescore`: score stored answers again, after an outage of the scorer or with a new one."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType

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
from flywheel_cli.output import print_json, print_table, progress
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
    received stays as it is: ingest the day again to take the new scores in. Ctrl-C keeps the scores that came
    until then.
    """
    done: dict[str, RescoreResult] = {}
    layout = settings.layout
    wanted = expand_days(days, layout.raw_days(), where=layout.raw, before=GET_RAW_DAYS)
    with _asked_to_stop() as stop:
        for day in wanted:
            if stop():
                break
            click.echo(f"rescore {day}", err=True)
            with progress("rescore") as tell:
                done[day.isoformat()] = rescore_day(
                    layout, day, settings.config, every=all_answers, progress=tell, stop=stop
                )
        stopped = stop()
    if settings.as_json:
        print_json({day: asdict(result) for day, result in done.items()})
    else:
        _print(done, all_answers)
    if stopped:
        again = "; with --all-answers, that scores everything again" if all_answers else ""
        click.echo(f"stopped: run the command again for the rest{again}", err=True)
        raise click.exceptions.Exit(130)


def _print(done: dict[str, RescoreResult], all_answers: bool) -> None:
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


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Yield whether Ctrl-C or SIGTERM has come, which end the process only at the second time."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    came = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal came
        came = True
        restore()  # first: whoever reads the words may send the second one at that moment
        click.echo("stopping once the answers that are being scored have their scores", err=True)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in numbers:
        signal.signal(number, note)
    try:
        yield lambda: came
    finally:
        restore()
