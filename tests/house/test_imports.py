"""Imports run one way: cli -> {dagster, gateway, collector, simulation} -> core, and nothing sideways."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "flywheel_core",
    "collector_api",
    "flywheel_gateway",
    "flywheel_dagster",
    "flywheel_cli",
    "simulation",
}
ALLOWED = {
    "flywheel_core": set(),
    "collector_api": {"flywheel_core"},
    "flywheel_gateway": {"flywheel_core"},
    "flywheel_dagster": {"flywheel_core"},
    "simulation": {"flywheel_core"},
    "flywheel_cli": PACKAGES - {"flywheel_cli"},
}
SERVERS = {"dagster", "uvicorn", "starlette", "click", "rich"}
"""Libraries of the layers above: the domain must not import them, except in the servers' shared `serve/`."""


def imported_packages(file: Path) -> set[str]:
    """Return the top-level names that a module imports anywhere, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_imports_only_what_stands_below_it(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    forbidden = PACKAGES - ALLOWED[package] - {package}
    sideways = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in imported_packages(file) & forbidden
    }
    assert not sideways


def test_the_domain_knows_no_server_and_no_orchestrator() -> None:
    for file in sorted((ROOT / "flywheel_core").rglob("*.py")):
        if file.parent.name != "serve":
            assert not imported_packages(file) & SERVERS, file


def test_only_the_configuration_reads_the_environment() -> None:
    readers = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if any(
            isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb")
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        )
    }
    assert readers <= {"flywheel_core/config_file.py"}, readers


def test_nothing_loads_pickles() -> None:
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            assert not imported_packages(file) & {"pickle", "cloudpickle", "joblib", "shelve", "marshal"}, (
                file
            )
