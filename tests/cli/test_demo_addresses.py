"""Everything that `flywheel demo` names at its end exists."""

import shlex
from pathlib import Path

import pytest

from flywheel_cli.demo import _show_addresses
from flywheel_cli.demo_setup import prepare
from flywheel_core.lake.atomic import write_atomically
from flywheel_core.lake.layout import Layout
from flywheel_core.learn.artefact import verify_router
from flywheel_core.learn.registry import Registry
from tests.core.learn.small import publish_single


def test_a_router_without_a_page_has_no_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first champion always asks one model. It is never evaluated, and may serve until the demo ends."""
    stage = prepare(tmp_path / "demo", usual_ports=False)
    layout = Layout(stage.config.storage.data_dir)
    version = publish_single(layout, "single", "big", ["big", "math"])
    Registry(layout, verify_router).promote(version, kind="first", by="tests", reason="best", since=None)
    _show_addresses(stage, up=False)
    assert "evaluation-single" not in capsys.readouterr().out
    write_atomically(layout.evaluation(version, "html"), b"a page")
    _show_addresses(stage, up=False)
    assert layout.evaluation(version, "html").as_uri() in capsys.readouterr().out


def test_the_command_for_dagster_works_in_any_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = prepare(tmp_path / "my demo #1: ü", usual_ports=False)
    assert stage.config.storage.data_dir == stage.folder
    _show_addresses(stage, up=False)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("   Dagster"))
    assert shlex.split(line)[-6:] == [
        *("dagster", "dev", "--config", str(stage.config_file), "--home", str(stage.dagster_home))
    ]
