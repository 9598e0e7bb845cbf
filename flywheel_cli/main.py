"""The `flywheel` command. Each command's module is imported only when the command is called."""

import errno
import importlib
import importlib.util
import sys
from typing import Any, NamedTuple, NoReturn

import click

from flywheel_cli.options import Settings, settings_options
from flywheel_cli.output import prepare_streams, print_error
from flywheel_core.errors import FlywheelError, StorageError, UsageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a write that ran out of room.

Storage errors carry a file name, so one without comes from printing.
"""


class Entry(NamedTuple):
    """One command: where it is (`module:name`), and its sentence in `flywheel --help`."""

    target: str
    sentence: str


COMMANDS: dict[str, Entry] = {
    "config": Entry("flywheel_cli.config:config", "Check, try and show the configuration."),
    "keys": Entry("flywheel_cli.keys:keys", "Create, list and revoke the keys of collector and gateway."),
    "collector": Entry("flywheel_cli.collector:collector", "Serve the collector: POST /collect."),
    "gateway": Entry("flywheel_cli.gateway:gateway", "Serve the gateway: the OpenAI API, routed."),
    "import": Entry("flywheel_cli.raw:import_", "Take recorded outcomes into the raw days."),
    "rescore": Entry(
        "flywheel_cli.rescore:rescore", "Score stored answers again, after an outage or with a new scorer."
    ),
    "ingest": Entry("flywheel_cli.raw:ingest", "Raw days to the tables responses and rejects."),
    "label": Entry("flywheel_cli.dataset:label", "Responses to labelled examples and daily aggregates."),
    "dataset": Entry("flywheel_cli.dataset:dataset", "A window of days to a versioned training dataset."),
    "generate": Entry("flywheel_cli.generate:generate", "One raw file to one training file."),
    "status": Entry("flywheel_cli.status:status", "Days, counts, sizes and the latest runs."),
    "sql": Entry("flywheel_cli.sql:sql", "Run SQL over the tables."),
    "report": Entry("flywheel_cli.report:report", "Distribution, leaderboard, quality and rejects of days."),
    "prune": Entry("flywheel_cli.prune:prune", "Remove old days and versions that nothing needs."),
    "forget": Entry("flywheel_cli.forget:forget", "Remove what one person asked; show where else it is."),
    "train": Entry(
        "flywheel_cli.learn:train", "Train a router on a dataset, judge it, promote it if it passes."
    ),
    "router": Entry("flywheel_cli.router:router", "List, show, evaluate, promote and roll back routers."),
    "why": Entry("flywheel_cli.learn:why", "Explain one decision."),
    "replay": Entry("flywheel_cli.replay:replay", "Play recorded outcomes day by day through the loop."),
    "simulate": Entry("simulation.command:simulate", "Serve stand-ins for the models and the scorer."),
    "dagster": Entry("flywheel_cli.dagster:dagster", "Start Dagster's UI and daemon, or rebuild days."),
    "demo": Entry("flywheel_cli.demo:demo", "Run the whole loop on sample data."),
}
"""Every command, in the order of the loop. A command whose module is not installed is not listed."""


class CommandGroup(click.Group):
    """Lists commands from `COMMANDS` without importing them, and prints Flywheel's errors in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the installed commands."""
        return [name for name, entry in COMMANDS.items() if _is_there(entry)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command of that name, None if there is none."""
        entry = COMMANDS.get(cmd_name)
        if entry is None or not _is_there(entry):
            return None
        module, _, attribute = entry.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, but suggest the nearest command for an unknown name."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.NoSuchCommand(args[0], possibilities=self.list_commands(ctx), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from their sentences, without importing them."""
        rows = [(name, COMMANDS[name].sentence) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print a Flywheel error as a message or a JSON object, and exit with its status."""
        settings = ctx.ensure_object(Settings)
        asked_for_json = "--json" in ctx.args  # with a wrong option beside it, no option is read
        try:
            return super().invoke(ctx)
        except FlywheelError as error:
            print_error(error, as_json=settings.as_json)
            ctx.exit(error.exit_status)
        except click.UsageError as error:
            _refuse(error, as_json=settings.as_json or asked_for_json)
        except OSError as error:
            if error.filename is None:
                raise  # there is no file to name in a message
            refused = StorageError(f"cannot use {error.filename}: {error.strerror}")
            print_error(refused, as_json=settings.as_json)
            ctx.exit(refused.exit_status)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the whole command; report on standard error when standard output has no room left."""
        prepare_streams()
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.filename is not None or error.errno not in _FULL:
                raise
            full = StorageError(
                f"cannot print: {error.strerror}",
                hint="standard output goes to a full disk or a file that may not grow; the output there is incomplete",
            )
            print_error(full, as_json=False)
            sys.exit(full.exit_status)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Report errors in the options before the command's name in the same way."""
        asked_for_json = "--json" in args  # first: click takes out of the list what it has read
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            _refuse(error, as_json=asked_for_json)


def _refuse(error: click.UsageError, *, as_json: bool) -> NoReturn:
    """Exit with one of click's errors as a Flywheel error: with a code, and with the usage as its hint."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        raise error  # shows the help
    hint = None
    if error.ctx is not None:
        usage = " ".join(error.ctx.get_usage().removeprefix("Usage: ").split())
        hint = f"{usage}; {error.ctx.command_path} --help says more"
    print_error(UsageError(error.format_message(), hint=hint), as_json=as_json)
    raise click.exceptions.Exit(UsageError.exit_status) from None


def _is_there(entry: Entry) -> bool:
    return importlib.util.find_spec(entry.target.partition(":")[0]) is not None


@click.group(cls=CommandGroup, name="flywheel", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flywheel", message="%(prog)s %(version)s")
@settings_options
def main() -> None:
    """Flywheel makes an AI gateway learn from its own traffic which model to ask.

    The settings come from --config, else from the file that FLYWHEEL_CONFIG names, else from flywheel.yaml in the
    working folder, else from the defaults; `flywheel config show` prints what is in force.
    """
