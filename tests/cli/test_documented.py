"""The command-line page names every command and every option, and none that does not exist."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from flywheel_cli.main import main

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "cli.md").read_text(encoding="utf-8")
SHARED = PAGE.partition("## Configuration")[0]


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


COMMANDS = dict(commands(main, "flywheel"))


def options(command: click.Command) -> list[str]:
    given = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    return [
        name for option in given for name in (*option.opts, *option.secondary_opts) if name.startswith("--")
    ]


def section(path: str) -> str:
    """Return what the page says about one command: the text from its heading to the next."""
    _, found, rest = PAGE.partition(f"### `{path}`\n")
    assert found, f"docs/cli.md has no heading for {path}"
    return re.split(r"^#{2,3} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_and_all_its_options_are_on_the_page(path: str) -> None:
    about = section(path)
    group = PAGE[: PAGE.index(f"### `{path}`")].rpartition("\n## ")[2]  # has what a group's commands share
    for option in options(COMMANDS[path]):
        known = any(re.search(rf"`{option}\b", text) for text in (about, group.partition("### ")[0], SHARED))
        assert known, f"docs/cli.md does not name {option} of {path}"


def test_options_of_the_command_itself_are_on_the_page() -> None:
    for option in [*options(main), "--help"]:
        assert f"`{option}`" in SHARED


def test_the_page_names_no_command_and_no_option_that_is_not_there() -> None:
    assert set(re.findall(r"^### `(flywheel [^`]+)`", PAGE, re.MULTILINE)) == set(COMMANDS)
    every = (
        {option for command in COMMANDS.values() for option in options(command)}
        | set(options(main))
        | {"--help"}
    )
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) <= every


def given_codes(tree: ast.AST) -> Iterator[str]:
    """Yield the codes in a module: those that a class of errors has, and those that a call `...Error(code=...)` gives."""
    for node in ast.walk(tree):
        values: list[ast.expr] = []
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error") and node.name != "FlywheelError":
            assigned = [one for one in node.body if isinstance(one, ast.Assign)]
            values = [one.value for one in assigned if ast.unparse(one.targets[0]) == "code"]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error"):
            values = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
        yield from (str(one.value) for one in values if isinstance(one, ast.Constant))


def test_every_code_of_an_error_is_in_the_documents() -> None:
    """Programs tell errors apart by their codes, so a code that no page names is of use to nobody."""
    root = Path(__file__).parents[2]
    modules = [
        path for top in ("flywheel_*", "collector_api", "simulation") for path in root.glob(f"{top}/**/*.py")
    ]
    codes = {code for path in modules for code in given_codes(ast.parse(path.read_text(encoding="utf-8")))}
    assert len(codes) > 20
    pages = "".join(page.read_text(encoding="utf-8") for page in (root / "docs").glob("*.md"))
    assert [code for code in sorted(codes) if f"`{code}`" not in pages] == []


def test_every_example_on_the_page_parses() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    blocks += re.findall(
        r"^```sh\n(flywheel .*?)^```", (DOCS / "privacy.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    lines = [line.partition("  #")[0] for block in blocks for line in block.splitlines()]
    assert len(lines) >= 11
    for line in lines:
        path = max((path for path in COMMANDS if line.startswith(path + " ") or line == path), key=len)
        words = shlex.split(line.partition(" < ")[0])[len(path.split()) :]
        parser = COMMANDS[path].make_parser(click.Context(COMMANDS[path]))
        parser.parse_args(words)
