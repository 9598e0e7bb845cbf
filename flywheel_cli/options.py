"""What commands share: the current settings, the options that choose them, and days as arguments."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from flywheel_core.errors import NoDataError, UsageError
from flywheel_core.lake.layout import Layout, parse_day

if TYPE_CHECKING:
    from flywheel_core.config import Config  # importing it takes half a second, too long for --help

MAX_RANGE_DAYS = 3_660
"""Longest range of days that one argument may name."""

GET_RAW_DAYS = "import or collect something"
"""What must be done before any command that reads raw files; part of an error's hint."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass
class Settings:
    """What the command line's options chose; the configuration is read when it is first needed."""

    config_file: Path | None = None
    data_dir: Path | None = None
    as_json: bool = False

    @cached_property
    def config(self) -> "Config":
        """The current configuration, with the data folder of --data-dir. Raises ConfigError."""
        from flywheel_core.config_file import load_config

        config = load_config(self.config_file)
        if self.data_dir is None:
            return config
        storage = config.storage.model_copy(update={"data_dir": self.data_dir})
        return config.model_copy(update={"storage": storage})

    @property
    def layout(self) -> Layout:
        """The current data folder."""
        return Layout(self.config.storage.data_dir)


pass_settings = click.make_pass_decorator(Settings, ensure=True)
"""Decorator that passes a command the `Settings` as its first argument."""


def settings_options(command: _Command) -> _Command:
    """Add the options --config and --data-dir, which are accepted before and after the command's name."""
    command = click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        expose_value=False,
        callback=_remember("data_dir"),
        help="The data folder; overrides storage.data_dir.",
    )(command)
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        expose_value=False,
        callback=_remember("config_file"),
        help="The configuration file.",
    )(command)


def days_argument(command: _Command) -> _Command:
    """Add the argument DAY..., at least one; see `expand_days`."""
    return click.argument("days", metavar="DAY...", nargs=-1, required=True)(command)


def json_option(command: _Command) -> _Command:
    """Add the option --json: one JSON value on standard output, even for errors; see `Settings.as_json`."""
    return click.option(
        "--json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_remember("as_json"),
        help="Print one JSON value; an error is an object with code and message.",
    )(command)


def html_option(command: _Command) -> _Command:
    """Add the option --html, given as `file`: write a page to it instead of printing tables."""
    return click.option(
        "--html",
        "file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write one self-contained page to this file instead of printing tables.",
    )(command)


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(ctx: click.Context, _parameter: click.Parameter, value: Any) -> None:
        settings = ctx.ensure_object(Settings)
        if value:
            setattr(settings, name, value)

    return keep


def utf8(text: str, what: str) -> str:
    """Return an argument or standard input unchanged.

    Raises UsageError when it contains bytes that are not UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{what} is not UTF-8: {text[:100]!r}") from None
    return text


def expand_days(words: Sequence[str], known: Iterable[date], *, where: Path, before: str) -> list[date]:
    """Return the days that arguments name, each once, in order.

    A word is a day (see `parse_day`), a range `FIRST..LAST` including both ends, or `all` for the days of
    `known`. Raises UsageError for anything else, NoDataError when `all` names no day; the message says that
    `where` has none, and its hint to do `before` first.
    """
    days: set[date] = set()
    for word in words:
        if word == "all":
            found = list(known)
            if not found:
                raise NoDataError(
                    f"there are no days yet in {where.absolute()}",
                    hint=f"{before} first; --data-dir names another data folder",
                )
            days.update(found)
        elif ".." in word:
            days.update(_range(word))
        else:
            days.add(parse_day(word))
    return sorted(days)


def _range(word: str) -> list[date]:
    first, last = (parse_day(end) for end in word.split("..", 1))
    count = (last - first).days + 1
    if count < 1:
        raise UsageError(f"the range {word} ends before it begins", hint="write FIRST..LAST")
    if count > MAX_RANGE_DAYS:
        raise UsageError(f"the range {word} has {count} days; at most {MAX_RANGE_DAYS} are taken")
    return [first + timedelta(days=offset) for offset in range(count)]
