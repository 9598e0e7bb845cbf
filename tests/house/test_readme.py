"""The programs accept what the documents tell a reader to type."""

import json
import re
import shlex
from pathlib import Path

import click
import pytest

from flywheel_cli.main import main
from flywheel_core.lake.layout import Layout
from flywheel_core.wire import decode_point

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands() -> list[str]:
    """Return every `flywheel` command in the documents' shell blocks, with its continuation lines joined."""
    found = []
    for document in DOCUMENTS:
        for block in re.findall(
            r"```(?:sh|bash|console)\n(.*?)```", document.read_text(encoding="utf-8"), re.S
        ):
            for line in block.replace("\\\n", " ").splitlines():
                words = re.match(r"(?:\$ )?(?:\.venv/bin/)?(flywheel .*)", line)
                if words:
                    found.append(words[1])
    return sorted(set(found))


def test_the_documents_show_commands() -> None:
    assert len(commands()) > 10


@pytest.mark.parametrize("line", commands())
def test_a_documented_command_is_understood(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line, comments=True)
    for stop in ("|", ">", "<", "&&", "&"):
        words = words[: words.index(stop)] if stop in words else words
    for word in words:
        if re.fullmatch(r"[\w./-]+\.(?:jsonl|jsonl\.gz|gz|yaml)", word):
            Path(word).parent.mkdir(parents=True, exist_ok=True)
            Path(word).touch()
    context = main.make_context("flywheel", words[1:])
    command: click.Command = main
    rest = [*context._protected_args, *context.args]
    while isinstance(command, click.Group) and rest:
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None, f"{line}: there is no command {name}"
        command = found
        context = command.make_context(name, list(rest), parent=context)
        if isinstance(command, click.Group):
            rest = [*context._protected_args, *context.args]


def test_the_readmes_upload_is_a_batch_that_the_collector_takes() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"/collect .*?-d '(\{.*?\})'\n", readme, re.S)
    assert shown
    batch = json.loads(shown[1])
    for point in batch["data_points"]:
        decoded = decode_point(json.dumps(point).encode())
        assert decoded.scores


def test_the_tour_names_files_functions_and_classes_that_are_there() -> None:
    tour = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:(?:flywheel|collector)_\w+|simulation)/[\w./]*)(?::(\w+))?`", tour)
    assert len(named) > 40
    for path, name in named:
        assert (ROOT / path).exists(), path
        if name:
            source = (ROOT / path).read_text(encoding="utf-8")
            assert re.search(rf"^(?:class|def|async def) {name}\b", source, re.M), f"{path} has no {name}"


def test_every_place_in_the_data_folder_is_described_and_backed_up_or_not() -> None:
    """data/README.md says what each is, docs/operations.md whether to keep it."""
    layout = Layout(Path("data"))
    places = [getattr(layout, name).name for name, one in vars(Layout).items() if isinstance(one, property)]
    assert len(places) > 8
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    kept = operations.partition("\n## What to keep\n")[2].partition("\n## ")[0]
    for text in ((ROOT / "data" / "README.md").read_text(encoding="utf-8"), kept):
        cells = " ".join(re.findall(r"^\| (.*?) \|", text, re.M))
        assert [place for place in places if f"`{place}`" not in cells and f"`{place}/`" not in cells] == []
