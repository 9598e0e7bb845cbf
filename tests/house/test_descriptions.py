"""A server's API description has every status that the server refuses requests with."""

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import collector_api.openapi
import flywheel_gateway.openapi
from flywheel_core.errors import REQUEST_CODES

ROOT = Path(__file__).parents[2]
NO_OPERATION = {404, 405}
"""Statuses of requests to other addresses, or with other methods, than those of the description."""


def named_codes(files: Iterable[Path]) -> set[str]:
    """Return the codes of `REQUEST_CODES` that stand in some modules."""
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    return {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in REQUEST_CODES
    }


@pytest.mark.parametrize(
    ("package", "description"),
    [
        ("collector_api", collector_api.openapi.describe(1_000)),
        ("flywheel_gateway", flywheel_gateway.openapi.describe()),
    ],
)
def test_every_status_of_a_refusal_is_described(package: str, description: dict[str, Any]) -> None:
    shared = [*(ROOT / "flywheel_core" / "serve").glob("*.py"), *(ROOT / "flywheel_core").glob("wire*.py")]
    codes = named_codes([*(ROOT / package).rglob("*.py"), *shared])
    assert len(codes) > 15
    described = {
        status
        for path in description["paths"].values()
        for operation in path.values()
        for status in operation["responses"]
    }
    missing = {code for code in codes if str(REQUEST_CODES[code][0]) not in described}
    assert {code for code in missing if REQUEST_CODES[code][0] not in NO_OPERATION} == set()
