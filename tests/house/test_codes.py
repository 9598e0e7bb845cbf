"""Errors are made with the codes of their tables, from which documents, descriptions and metrics are made."""

import ast
from pathlib import Path

from flywheel_core.errors import POINT_CODES, REQUEST_CODES, SKIP_CODES
from flywheel_core.lake.chunks import REJECT_CODES

ROOT = Path(__file__).parents[2]
TABLES: dict[str, set[str]] = {
    "PointError": {*POINT_CODES, *REJECT_CODES},
    "RequestError": {*REQUEST_CODES},
    "SkippedError": {*SKIP_CODES},
}


def test_a_code_that_an_error_is_made_with_is_in_its_table() -> None:
    """An error with a message of its own does not look its code up, so an unknown one would reach the user."""
    found: list[tuple[str, str, str]] = []
    for package in ("flywheel_core", "flywheel_gateway", "collector_api", "flywheel_cli", "flywheel_dagster"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(func=ast.Name(id=kind), args=[ast.Constant(value=str(code)), *_]):
                        if kind in TABLES:
                            found.append((file.name, kind, code))
    assert len(found) > 50
    assert [one for one in found if one[2] not in TABLES[one[1]]] == []


def test_whatever_makes_a_request_more_than_a_question_is_a_reason_to_skip_it() -> None:
    tree = ast.parse((ROOT / "flywheel_core" / "prompt.py").read_text(encoding="utf-8"))
    (features,) = (
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "_features"
    )
    given = [
        node.value.value
        for node in ast.walk(features)
        if isinstance(node, ast.Yield) and isinstance(node.value, ast.Constant)
    ]
    assert len(given) >= 4
    assert [feature for feature in given if feature not in SKIP_CODES] == []
