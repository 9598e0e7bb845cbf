"""The pinned versions cover whatever every supported Python installs, not only the one that runs the tests."""

import sysconfig
import tomllib
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.litellm import REQUIREMENTS, environment

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11.0", "3.11.3", "3.12.0", "3.13.0")


def pinned_in(file: Path) -> set[str]:
    lines = [line for line in file.read_text().splitlines() if line and line[0] != "#"]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def required(site: Path, root: str, extras: Iterable[str], python: str) -> set[str]:
    """Return everything that `root` with `extras` needs on a version of Python, as the packages in `site` say it."""
    requires = {
        canonicalize_name(one.metadata["Name"]): one.requires or () for one in distributions(path=[str(site)])
    }
    here = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    found: set[tuple[str, str]] = set()
    waiting = [(root, extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        for one in map(Requirement, requires.get(canonicalize_name(name), ())):
            if one.marker is None or one.marker.evaluate({**here, "extra": extra}):
                waiting += [(canonicalize_name(one.name), wanted) for wanted in ("", *one.extras)]
    return {name for name, _ in found} - {root}


def test_what_flywheel_runs_with_has_bounds_from_the_pinned_versions_on() -> None:
    """Without constraints.txt pip leaves an old version where it is, and takes a new major version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = {
        canonicalize_name(one.name): one.specifier
        for one in map(Requirement, (ROOT / "constraints.txt").read_text().splitlines()[1:])
    }
    for needed in map(Requirement, project["dependencies"]):
        (pin,) = pins[canonicalize_name(needed.name)]
        bounds = {one.operator: one.version for one in needed.specifier}
        assert bounds.keys() == {">=", "<"}, needed
        assert bounds[">="] == pin.version, f"older than {pin} is not tested, {needed} allows it"
        assert needed.specifier.contains(pin.version), needed


@pytest.mark.parametrize("python", PYTHONS)
def test_every_python_gets_the_versions_of_the_constraints(python: str) -> None:
    site = Path(sysconfig.get_path("purelib"))
    assert required(site, "flywheel", ["dev"], python) <= pinned_in(ROOT / "constraints.txt")


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_python_gets_all_that_litellm_needs(python: str) -> None:
    (site,) = environment().glob("lib/python*/site-packages")
    assert required(site, "litellm", ["proxy"], python) <= pinned_in(REQUIREMENTS)
