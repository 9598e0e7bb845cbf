"""Options of the whole test suite, and what every test leaves as it was."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def sigterm_is_put_back() -> Iterator[None]:
    """Dagster changes what SIGTERM does when it runs something in this process, and processes of later tests inherit that."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def pytest_addoption(parser: pytest.Parser) -> None:
    """How often tests that kill processes do so, and how much tests of promises try."""
    parser.addoption(
        "--kill-rounds", type=int, default=20, help="kills of a collector under load (default: 20)"
    )
    parser.addoption(
        "--prove",
        action="store_true",
        help="tests of promises at full size; their figures go to docs/proof.md",
    )
    parser.addoption("--soak", action="store_true", help="with --prove: load the servers for an hour too")
