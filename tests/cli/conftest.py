"""Fixture that runs the command line in this process, in an empty folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flywheel_cli.main import main

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `flywheel` with arguments in an empty folder; the data folder is `data` in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLYWHEEL_CONFIG", raising=False)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, catch_exceptions=False)

    return call


def parsed(result: Result) -> Any:
    """Return the JSON value that a successful command printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
