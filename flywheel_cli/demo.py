"""`flywheel demo`: run the whole loop once in a folder of its own; show results and the pages to open."""

import asyncio
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import FrameType

import click

from flywheel_cli.demo_setup import (
    SIMULATION_SPEED,
    Stage,
    prepare,
    start_collector,
    start_dagster,
    start_gateway,
    start_simulation,
)
from flywheel_cli.demo_traffic import Reply, ask_all, questions, stored_today, upload, wait_until_stored
from flywheel_cli.output import fitted, print_table, progress
from flywheel_cli.processes import Services
from flywheel_core.errors import UsageError
from flywheel_core.lake.atomic import write_atomically
from flywheel_core.lake.importing import import_files
from flywheel_core.lake.layout import Layout
from flywheel_core.learn.champion import POINTER, read_champion

NEWEST = "newest.jsonl"
REPORT = "demo.html"
FIRST_UNSEEN_QUESTION = 2_800
"""From this index on, the simulation's training questions are not in the sample."""
ASKED = 300
SECOND_ROUND = (2_400, 400)
"""Offset and number of the training questions asked once a router is in service; few are in the sample."""
VALIDATED = 300
"""Number of validation questions that the router is measured on; no router is trained on them."""
SHOWN_REPLIES = 6
QUESTION_WIDTH = 50
"""In terminal columns."""


@click.command()
@click.option(
    "--exit",
    "leave",
    is_flag=True,
    help="End when everything has been shown instead of leaving the pages up.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data/demo"),
    show_default=True,
    help="Where the demo works; what an earlier demo left there is removed.",
)
@click.option(
    "--sample",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data/sample"),
    show_default=True,
    help="The folder of the sample.",
)
@click.option("--free-ports", is_flag=True, help="Listen on any free ports instead of the usual ones.")
def demo(leave: bool, folder: Path, sample: Path, free_ports: bool) -> None:
    """Run the whole loop on simulated models and sample data, on this machine alone.

    Starts the simulation, the collector, the gateway and Dagster; Ctrl-C ends all of them.
    """
    newest = sample / NEWEST
    earlier = sorted(sample.glob("training_data_*.jsonl*"))
    if not newest.is_file() or not earlier:
        raise UsageError(
            f"there is no sample in {sample}",
            hint="run this in the project's folder or name it with --sample",
        )
    stage = prepare(folder, earlier_days=len(earlier), usual_ports=not free_ports)
    signal.signal(signal.SIGTERM, _as_interrupt)
    shown = False
    try:
        with Services(stage.logs) as services:
            _play(services, stage, earlier, newest)
            _show_addresses(stage, up=not leave)
            shown = True
            if not leave:
                click.echo("\nCtrl-C ends everything.")
                while True:
                    time.sleep(1)
                    services.check()
    except KeyboardInterrupt:
        click.echo("\nended" if shown else "\nended before everything was shown")
        if not shown:
            raise click.exceptions.Exit(130) from None


def _play(services: Services, stage: Stage, earlier: Sequence[Path], newest: Path) -> None:
    layout = Layout(stage.config.storage.data_dir)
    with _step("start simulation, collector, gateway and Dagster"), ThreadPoolExecutor() as pool:
        starts = (start_simulation, start_collector, start_gateway, start_dagster)
        for started in [pool.submit(start, services, stage) for start in starts]:
            started.result()
    with _step("import the sample's earlier days"), progress("import") as tell:
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        imported = import_files(layout, earlier, yesterday, tell)
    click.echo(
        f"   {imported.imported:,} data points of {len(imported.days)} days, {imported.rejected} lines set aside"
    )
    with _step("upload the newest part, as a gateway does"), progress("upload") as tell:
        accepted = upload(f"{stage.collector}/collect", newest, tell)
    click.echo(f"   {accepted:,} data points stored and synced")
    _show_replies(_ask(stage, layout, FIRST_UNSEEN_QUESTION, ASKED))
    _materialize(stage, layout.raw_days())
    _show_labels(layout)
    services.check()
    _learn(stage, layout)
    services.check()


def _ask(stage: Stage, layout: Layout, offset: int, count: int) -> list[Reply]:
    """Ask through the gateway, and wait until every question has become a stored data point."""
    with _step(f"ask {count} questions through the gateway"), progress("ask") as tell:
        before = stored_today(layout)
        asked = questions(stage.simulation, "training", offset, count)
        replies = asyncio.run(ask_all(stage.gateway, asked, tell))
    with _step("wait until all of them are scored and stored"), progress("stored") as tell:
        wait_until_stored(layout, before + len(replies), tell)
    return replies


def _materialize(stage: Stage, days: Sequence[date]) -> None:
    from flywheel_dagster.materialize import materialize_days

    count = "today" if len(days) == 1 else f"{len(days)} days"
    with _step(f"make tables and a dataset of {count} through Dagster"), progress("days") as tell:
        made = materialize_days(
            days,
            stage.config,
            stage.dagster_home,
            on_day=lambda report: tell(report.done, report.total),
        )
    for day, problems in sorted(made.failed.items()):
        for problem in problems:
            click.echo(f"   {day}: {problem}")


def _show_labels(layout: Layout) -> None:
    from flywheel_cli.report import print_summary
    from flywheel_core.report.html import page
    from flywheel_core.report.summary import summarise

    summary = summarise(layout, layout.raw_days())
    click.echo()
    print_summary(summary)
    write_atomically(layout.reports / REPORT, page(summary, made_at=datetime.now(UTC)).encode())


def _learn(stage: Stage, layout: Layout) -> None:
    """Train, promote, route and measure; then send more traffic and do it all again."""
    from flywheel_cli import demo_learning as learning

    validation = questions(stage.simulation, "validation", 0, VALIDATED)
    with _step(f"ask every model {VALIDATED} validation questions, to compare with"), progress("ask") as tell:
        points = asyncio.run(learning.ask_every_model(stage, validation, tell))
    for again in (False, True):
        if again:
            _show_replies(_ask(stage, layout, *SECOND_ROUND))
            _materialize(stage, [datetime.now(UTC).date()])
        with _step("train a router" + (" on what came since" if again else " and judge it")):
            night = learning.train_and_judge(stage, layout)
        click.echo(f"   {night.verdict}: {night.reason}")
        with _step("wait until the gateway has the router in service"):
            learning.wait_until_taken_up(stage, night.champion)
        with _step("send the validation questions through the gateway"), progress("ask") as tell:
            replies = asyncio.run(ask_all(stage.gateway, validation, tell, collect=False))
        ways = {"routed by the gateway": [reply.model for reply in replies]}
        if night.challenger != night.champion:
            ways["the new router, not in service"] = learning.decided(layout, night.challenger, validation)
        compared = learning.compare(stage, points, ways)
        rows = [(way.name, way.score, way.cost, round(way.latency_ms)) for way in compared]
        click.echo()
        print_table(
            ("way of choosing", "score", "cost per 1,000", "ms"),
            rows,
            title="Questions that no router was trained on",
        )
        routed, alone = compared[0], compared[len(ways)]
        click.echo(
            f"   {routed.name}, compared with {alone.name}: score {routed.score - alone.score:+.3f}, "
            f"cost {routed.cost / alone.cost - 1:+.0%}, time {routed.latency_ms / alone.latency_ms - 1:+.0%}\n"
            f"   The simulated models answer {SIMULATION_SPEED} times as fast as real ones would.\n"
        )


def _show_replies(replies: Sequence[Reply]) -> None:
    went = Counter((reply.model, reply.reason) for reply in replies)
    rows = [(model, reason, count) for (model, reason), count in went.most_common()]
    click.echo()
    print_table(("answered by", "because", "questions"), rows, title="Where the questions went")
    some = [
        (fitted(reply.question, QUESTION_WIDTH), reply.model, round(reply.seconds * 1000))
        for reply in replies[:SHOWN_REPLIES]
    ]
    print_table(("question", "answered by", "ms"), some)


def _show_addresses(stage: Stage, *, up: bool) -> None:
    """Print what to look at. up: the services stay up; otherwise only what can be opened without them."""
    layout = Layout(stage.config.storage.data_dir)
    champion = read_champion(layout.routers / POINTER)
    options = ("--config", str(stage.config_file), "--home", str(stage.dagster_home))
    again = shlex.join((sys.argv[0], "dagster", "dev", *options))
    rows = [
        ("Dagster", f"{stage.dagster}/assets" if up else again),
        ("report", (layout.reports / REPORT).as_uri()),
    ]
    if champion is not None and layout.evaluation(champion.version, "html").is_file():
        rows.append(("router", layout.evaluation(champion.version, "html").as_uri()))
    if up:
        rows.append(("gateway", f"{stage.gateway}/v1/chat/completions"))
        rows.append(("collector", f"{stage.collector}/docs"))
    rows += [
        ("data", str(stage.folder)),
        ("configuration", str(stage.config_file)),
    ]
    click.echo("Open:")
    for name, address in rows:
        click.echo(f"   {name:<14} {address}")


@contextmanager
def _step(what: str) -> Iterator[None]:
    """Print what starts and, at the end, how long it took."""
    click.echo(f"-> {what}")
    started = time.monotonic()
    yield
    click.echo(f"   {time.monotonic() - started:.1f} s")


def _as_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
