"""`flywheel replay`: play recorded outcomes day by day through the real steps."""

from pathlib import Path
from textwrap import fill

import click

from flywheel_cli.options import Settings, json_option, pass_settings, settings_options, utf8
from flywheel_cli.output import PLAIN_WIDTH, print_json, print_table, progress, shown
from flywheel_core.lake.atomic import write_atomically
from flywheel_core.learn.craft import trained_craft
from flywheel_core.learn.replay import replay as play
from flywheel_core.learn.replay_result import DayResult, Replay


@click.command()
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--pool", metavar="MODEL,...", help="The models to choose from; default: all that were recorded."
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="A separate data folder for the replay; default: DATA/replay. Called again, the replay continues there.",
)
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write the result as one HTML page."
)
@settings_options
@json_option
@pass_settings
def replay(
    settings: Settings, files: tuple[Path, ...], pool: str | None, folder: Path | None, html: Path | None
) -> None:
    """Play recorded outcomes (.jsonl or .jsonl.gz) day by day: each day's router serves the next day.

    Each day goes through raw file, tables, dataset, training, judgement and promotion, and knows no later day. Compared
    are flywheel, the best single model of the days before, chance, and an oracle that knows every score.
    """
    models = [name.strip() for name in utf8(pool or "", "--pool").split(",") if name.strip()]
    with progress("staging") as staging, progress("replay") as days:

        def on_day(_: DayResult, number: int, total: int) -> None:
            days(number, total)

        result = play(
            files,
            folder or settings.layout.root / "replay",
            settings.config,
            trained_craft(),
            pool=models,
            on_stage=staging,
            on_day=on_day,
        )
    if html is not None:
        from flywheel_core.report.replay import replay_page

        write_atomically(html, replay_page(result).encode())
    if settings.as_json:
        print_json({"models": result.models, "days": result.days, "summary": result.summary()})
        return
    _print(result)
    if html is not None:
        click.echo(f"wrote {html}")


def _print(result: Replay) -> None:
    rows = [
        (
            day.day,
            day.questions,
            day.routed,
            day.best_single,
            day.random,
            day.oracle,
            "promoted" if day.verdict == "promoted" else "",
        )
        for day in result.days
    ]
    columns = ("day", "questions", "flywheel", "best single", "random", "oracle", "")
    print_table(columns, rows, title=f"Mean score per day, {len(result.models)} models")
    summary = result.summary()
    if summary is None:
        click.echo(_why_no_summary(result))
        return
    click.echo(
        f"{summary.questions:,} questions on {summary.days} day{'s' * (summary.days != 1)}, mean scores:\n"
        f"flywheel {summary.routed:.4f}, best single {summary.best_single:.4f}, random {summary.random:.4f}, "
        f"oracle {summary.oracle:.4f}"
    )
    click.echo(
        f"gain over best single {summary.gain:+.4f} (95 %: {summary.gain_low:+.4f} to "
        f"{summary.gain_high:+.4f}), {summary.promotions} promotion{'s' * (summary.promotions != 1)}"
    )
    if not summary.promotions:
        last = result.days[-1]
        why = f"no router took the place of the best single model; after {last.day}: {last.reason}"
        click.echo(fill(why, PLAIN_WIDTH))
    if summary.cost is not None and summary.cost_single is not None:
        click.echo(
            f"cost of 1,000 questions: flywheel {shown(1_000 * summary.cost)}, "
            f"best single {shown(1_000 * summary.cost_single)}"
        )
        if summary.priced < summary.questions:
            click.echo(f"(both costs are known of {summary.priced:,} questions; the others are left out)")


def _why_no_summary(result: Replay) -> str:
    if any(day.router for day in result.days):
        return (
            "no question of a served day has a score of both the router's choice and the best single model's"
        )
    if len(result.days) < 2:
        return "no day was served by a router: a replay needs two days or more"
    return f"no day was served by a router: {result.days[-1].reason}"
