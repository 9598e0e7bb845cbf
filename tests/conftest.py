"""Options of the whole test suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """How often tests that kill processes do so."""
    parser.addoption(
        "--kill-rounds", type=int, default=20, help="kills of a collector under load (default: 20)"
    )
