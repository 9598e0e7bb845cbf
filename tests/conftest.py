"""Options of the whole test suite, and global state that every test must leave as it was."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def sigterm_is_put_back() -> Iterator[None]:
    """Restore SIGTERM's handler, which Dagster changes and child processes of later tests would inherit."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for how often tests kill processes, and how much the tests of promises try."""
    parser.addoption(
        "--kill-rounds", type=int, default=20, help="kills of a collector under load (default: 20)"
    )
    parser.addoption(
        "--prove",
        action="store_true",
        help="tests of promises at full size; their figures go to docs/proof.md",
    )
    parser.addoption("--soak", action="store_true", help="with --prove: load the servers for an hour too")
