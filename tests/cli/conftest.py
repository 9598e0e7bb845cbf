"""Helpers that run the command line in this process, in an empty folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flywheel_cli.main import main
from flywheel_core.lake.layout import Layout
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


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return the data folder of `run`, with two router versions that each always ask one model."""
    found = Layout(tmp_path / "data")
    publish_single(found, "to-big", "big", ("big", "math"))
    publish_single(found, "to-math", "math", ("big", "math"))
    return found
