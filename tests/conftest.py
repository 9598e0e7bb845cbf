"""Options of the whole test suite."""

import pytest


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
