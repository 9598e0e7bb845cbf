"""Helpers that run the command line in this process, in an empty folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flywheel_cli.main import main
from flywheel_core.lake.layout import Layout
from tests.cli.recorded import DAY_TWO, record
from tests.core.learn.small import publish_single

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs `flywheel` with arguments in an empty folder, whose `data` is the data folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLYWHEEL_CONFIG", raising=False)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, catch_exceptions=False)

    return call


def parsed(result: Result) -> Any:
    """Check that the command succeeded, and return the one JSON value on its standard output."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def rows(text: str) -> list[list[str]]:
    """Return the cells of a printed table, without its horizontal rule."""
    return [line.split() for line in text.splitlines() if line.strip() and "──" not in line]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two recorded days."""
    record(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return the data folder of `run`, with two router versions that each always ask one model."""
    found = Layout(tmp_path / "data")
    publish_single(found, "to-big", "big", ("big", "math"))
    publish_single(found, "to-math", "math", ("big", "math"))
    return found


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two labelled days and a dataset. Tests use copies of it."""
    data = tmp_path_factory.mktemp("built") / "data"
    record(data)
    for command, day in (("ingest", "all"), ("label", "all"), ("dataset", str(DAY_TWO))):
        result = CliRunner().invoke(main, [command, "--data-dir", str(data), day], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    return data


@pytest.fixture
def labelled(built: Path, run: Run, tmp_path: Path) -> Path:
    """A copy of the built data folder, in the folder where commands run."""
    return shutil.copytree(built, tmp_path / "data")
