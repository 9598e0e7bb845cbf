"""Whatever the servers log is a stable event name with fields, so that an operator can search for it."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
ONCE = {"met", "gone"}
"""The methods of `Trouble`."""
FOREIGN = ROOT / "flywheel_gateway" / "integrations"
"""Runs inside other programs, whose logs are plain text."""


def logging_calls(file: Path) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (
            node.func.attr in ONCE
            or (
                node.func.attr in LEVELS
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id in ("log", "logger")
            )
        )
    ]


def is_event(call: ast.Call) -> bool:
    match call.args:
        case [ast.Constant(value=str(name))]:
            return re.fullmatch("[a-z]+(_[a-z]+)*", name) is not None
    return False


def test_what_is_logged_is_an_event_with_fields() -> None:
    files = [
        file
        for package in ("flywheel_core", "collector_api", "flywheel_gateway")
        for file in sorted((ROOT / package).rglob("*.py"))
        if FOREIGN not in file.parents
    ]
    calls = [(file, call) for file in files for call in logging_calls(file)]
    assert len(calls) > 30, "the servers log more than that"
    sentences = [f"{file.relative_to(ROOT)}:{call.lineno}" for file, call in calls if not is_event(call)]
    assert not sentences
