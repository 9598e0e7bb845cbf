"""A server's API description has every status that the server refuses requests with, and its page can show it."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from swagger_ui_bundle import swagger_ui_path

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


BOTH = pytest.mark.parametrize(
    ("package", "description"),
    [
        ("collector_api", collector_api.openapi.describe(1_000)),
        ("flywheel_gateway", flywheel_gateway.openapi.describe()),
    ],
)


@BOTH
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


@BOTH
def test_the_page_can_show_the_description(package: str, description: dict[str, Any]) -> None:
    """Swagger UI before 5 shows `Unable to render this definition` instead of a description of OpenAPI 3.1."""
    bundle = (Path(swagger_ui_path) / "swagger-ui-bundle.js").read_text(encoding="utf-8")
    assert "openapi: 3.0.n" in bundle, "a later Swagger UI may show OpenAPI 3.1 too"
    assert re.fullmatch(r"3\.0\.\d", description["openapi"])
    assert list(later_words(description)) == []


@BOTH
def test_the_page_shows_operations_in_named_groups(package: str, description: dict[str, Any]) -> None:
    """Without a name, Swagger UI calls the group `default`."""
    operations = [one for path in description["paths"].values() for one in path.values()]
    assert {len(one.get("tags", [])) for one in operations} == {1}
    assert {tag for one in operations for tag in one["tags"]} > {"Watching"}


def later_words(schema: Any) -> Iterable[str]:
    """Return what only OpenAPI 3.1 has: types in a list, the type null, and constants."""
    if isinstance(schema, list):
        for item in schema:
            yield from later_words(item)
    if isinstance(schema, dict):
        kind = schema.get("type")
        if isinstance(kind, list) or kind == "null" or "const" in schema:
            yield str(schema)
        for item in schema.values():
            yield from later_words(item)
