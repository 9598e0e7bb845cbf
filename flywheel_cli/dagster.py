"""Start Dagster on this project: `flywheel dagster dev`, or webserver and daemon separately as in production.

Each command replaces itself with the Dagster program, so that signals and exit statuses are Dagster's own. It
first creates Dagster's home folder, and passes on the current configuration and data folder in the
environment.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

import click

from flywheel_cli.options import (
    GET_RAW_DAYS,
    Settings,
    days_argument,
    expand_days,
    pass_settings,
    settings_options,
)
from flywheel_cli.output import progress, say_empty

CODE_LOCATION = ("-m", "flywheel_dagster.definitions")
"""The module that workspace.yaml names too, given explicitly so that these commands run from any folder."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def home_option(command: _Command) -> _Command:
    """Add the option --home."""
    return click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="DAGSTER_HOME",
        default=Path(".dagster"),
        show_default=True,
        help="Where Dagster keeps runs and events; also DAGSTER_HOME.",
    )(command)


def address_options(command: _Command) -> _Command:
    """Add the options --host and --port of the UI."""
    command = click.option(
        "--port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="Port of the UI."
    )(command)
    return click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")(
        command
    )


@click.group()
def dagster() -> None:
    """Start the Dagster UI and daemon of the project, or rebuild days."""


@dagster.command(short_help="UI, daemon and code in one, until Ctrl-C.")
@address_options
@home_option
@settings_options
@pass_settings
def dev(settings: Settings, host: str, port: int, home: Path) -> None:
    """UI, daemon and code in one: schedules and sensors run until Ctrl-C."""
    _refuse_taken(host, port)
    _refuse_mute_alarm(settings)
    _warn_of_strangers(host)
    command = ["dagster", "dev", "--host", host, "--port", str(port), *CODE_LOCATION]
    _become(settings, home, command, PYTHONWARNINGS="ignore:Function `dev_command` is superseded")


@dagster.command(short_help="The UI alone.")
@address_options
@home_option
@settings_options
@pass_settings
def webserver(settings: Settings, host: str, port: int, home: Path) -> None:
    """The UI alone."""
    _refuse_taken(host, port)
    _warn_of_strangers(host)
    _become(settings, home, ["dagster-webserver", "--host", host, "--port", str(port), *CODE_LOCATION])


@dagster.command(short_help="The daemon alone: schedules, sensors, queued runs.")
@home_option
@settings_options
@pass_settings
def daemon(settings: Settings, home: Path) -> None:
    """The daemon alone: schedules, sensors and queued runs."""
    _refuse_mute_alarm(settings)
    # The daemon replaces its code server every minute; on "warning", each old one writes that nobody needs it any more.
    command = ["dagster-daemon", "run", "--code-server-log-level", "error", *CODE_LOCATION]
    _become(settings, home, command)


@dagster.command(short_help="Make days again, in this process.")
@days_argument
@click.option(
    "--datasets",
    type=click.Choice(["none", "last", "every"]),
    default="last",
    show_default=True,
    help="Which training datasets to make: none, that of the last day, or one for every day.",
)
@home_option
@settings_options
@pass_settings
def backfill(
    settings: Settings, days: tuple[str, ...], datasets: Literal["none", "last", "every"], home: Path
) -> None:
    """Rebuild days through Dagster, in this process; runs, metadata and checks show up in the UI.

    DAY is 2026-01-05, 20260105, today, yesterday, a range FIRST..LAST, or all for every day that has raw files.
    A bad day stops only itself; the exit status is then 1.
    """
    from flywheel_core.lake.first_day import days_to_come
    from flywheel_dagster.materialize import materialize_days

    layout = settings.layout
    there = set(layout.raw_days())
    today = datetime.now(UTC).date()
    wanted = expand_days(days, {day for day in there if day <= today}, where=layout.raw, before=GET_RAW_DAYS)
    ahead = days_to_come(there, today) if "all" in days else None
    if ahead:
        click.echo(ahead, err=True)
    with progress("backfill") as tell:
        result = materialize_days(
            wanted,
            settings.config,
            home,
            datasets=datasets,
            on_day=lambda report: tell(report.done, report.total),
        )
    click.echo(f"{result.days - len(result.failed)} of {result.days} days made in {result.seconds:.1f} s")
    say_empty([day for day in wanted if day not in there and day not in result.failed])
    for day, problems in sorted(result.failed.items()):
        for problem in problems:
            click.echo(f"{day}: {problem}", err=True)
    if result.failed:
        raise click.exceptions.Exit(1)


def dagster_environment(settings: Settings, home: Path) -> dict[str, str]:
    """Return the variables that make Dagster use this configuration, data folder and home."""
    from flywheel_dagster.home import prepare_home

    changes = {"DAGSTER_HOME": str(prepare_home(home))}
    if settings.config_file is not None:
        changes["FLYWHEEL_CONFIG"] = str(settings.config_file.absolute())
    changes["FLYWHEEL__STORAGE__DATA_DIR"] = str(settings.config.storage.data_dir.absolute())
    return changes


def _refuse_taken(host: str, port: int) -> None:
    """Raise UsageError if the address is taken.

    Dagster itself would notice only when its other services already run.
    """
    from flywheel_core.serve.lifecycle import listen

    listen(host, port).close()


def _refuse_mute_alarm(settings: Settings) -> None:
    """Raise ConfigIncompleteError if the address for alarms is configured but not in the environment.

    The sensor itself would notice only when a run has failed and nobody can be told.
    """
    from flywheel_core.config_file import secret

    variable = settings.config.operations.failure_webhook_env
    if variable is not None:
        secret(variable, "operations.failure_webhook_env")


def _warn_of_strangers(host: str) -> None:
    """Warn of a UI that can be reached from other machines: whoever reaches it can press its buttons."""
    from flywheel_core.serve.access import is_loopback

    if not is_loopback(host):
        click.echo(
            f"warning: the Dagster UI has no login, and {host} can be reached from outside:"
            " let a proxy that asks for one stand in front, and keep everybody else out",
            err=True,
        )


def _become(settings: Settings, home: Path, command: Sequence[str], **further: str) -> NoReturn:
    """Replace this process with a Dagster program. further: more variables for that program alone."""
    from flywheel_core.config_file import environment_with

    changes = {**dagster_environment(settings, home), **further}
    # A shell makes background commands ignore SIGINT, but Dagster's child processes are ended with SIGINT.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    program = Path(sys.executable).parent / command[0]
    sys.stdout.flush()
    os.execve(program, list(command), environment_with(changes))  # noqa: S606 - Dagster's own program
