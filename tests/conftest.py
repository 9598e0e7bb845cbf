"""Command-line options of the test suite, and the process state that every test restores."""

import logging
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Without a limit on the time of an example: on a busy machine it would fail tests of correct code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def sigterm_is_put_back() -> Iterator[None]:
    """Restore the SIGTERM handler after the test.

    Dagster changes it when it runs something in this process, and child processes would inherit the change.
    """
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def log_level_is_put_back() -> Iterator[None]:
    """Restore the level of logging after the test: the commands of servers change it for their process."""
    root = logging.getLogger()
    before = root.level
    yield
    root.setLevel(before)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that say how often the kill tests kill, and how much the tests of promises try."""
    parser.addoption(
        "--kill-rounds", type=int, default=20, help="kills of a collector under load (default: 20)"
    )
    parser.addoption(
        "--prove",
        action="store_true",
        help="tests of promises at full size; their figures go to docs/proof.md",
    )
    parser.addoption("--soak", action="store_true", help="with --prove: load the servers for an hour too")
