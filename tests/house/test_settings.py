"""Every setting of the configuration has an effect."""

import ast
import re
from pathlib import Path

from flywheel_core.config_schema import settings

ROOT = Path(__file__).parents[2]
PACKAGES = ("flywheel_core", "flywheel_gateway", "collector_api", "flywheel_cli", "flywheel_dagster")


def test_every_setting_is_read_somewhere() -> None:
    """One that is only defined would be documented and accepted, and change nothing.

    A setting is read as an attribute, or by its whole path, as `Config.require` takes it.
    """
    read = set()
    for file in (file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(attr=name):
                    read.add(name)
                case ast.Constant(value=str(path)) if re.fullmatch(r"[a-z_]+(?:\.[a-z_]+)+", path):
                    read.add(path.rpartition(".")[2])
    names = {setting.path.rpartition(".")[2] for setting in settings()}
    assert len(names) > 50
    assert sorted(names - read) == []
