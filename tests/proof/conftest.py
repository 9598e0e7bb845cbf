"""Tests of promises: small by default, as in CI; at full size with --prove, which writes figures to docs/proof.md."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from tests.collector.conftest import launch as launch
from tests.gateway.conftest import model as model
from tests.gateway.conftest import outside as outside
from tests.gateway.conftest import start as start
from tests.proof.document import Proven, write_document

DOCUMENT = Path(__file__).parents[2] / "docs" / "proof.md"

_T = TypeVar("_T")
_PROVEN: list[Proven] = []


class Proof:
    """Tells one test of a promise its size, and records its figures."""

    def __init__(self, full: bool) -> None:
        self.full = full
        self.figures: dict[str, Any] = {}

    def size(self, short: _T, full: _T) -> _T:
        """Return `full` with --prove, else `short`."""
        return full if self.full else short

    def note(self, **figures: Any) -> None:
        """Record figures for the document, which shows names with spaces for underscores, so end a name with its unit."""
        self.figures |= figures


@pytest.fixture
def proof(request: pytest.FixtureRequest) -> Iterator[Proof]:
    """The size and the figures of a test that has the mark `proof(promise, how)`."""
    made = Proof(request.config.getoption("--prove"))
    yield made
    (mark,) = request.node.iter_markers("proof")
    section = (request.module.__doc__ or "").partition("\n")[0].rstrip(".")
    request.node.user_properties.append(("proof", [section, *mark.args, made.figures]))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Gather the figures of the tests; with xdist this runs in the process that gathers all reports."""
    if report.when == "teardown":
        for name, value in report.user_properties:
            if name == "proof":
                _PROVEN.append(Proven(report.nodeid, *cast("list[Any]", value)))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the figures of the tests that passed, and write them to the document."""
    if not config.getoption("--prove"):
        return
    failed = {
        report.nodeid for kind in ("failed", "error") for report in terminalreporter.stats.get(kind, [])
    }
    passed = [one for one in _PROVEN if one.test not in failed and one.figures]
    for one in passed:
        terminalreporter.write_line(f"{one.test}: {one.figures_text()}")
    if passed:
        write_document(DOCUMENT, passed)
        terminalreporter.write_line(f"figures written to {DOCUMENT}")
