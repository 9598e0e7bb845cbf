"""Fixtures of the tests of collection."""

import pytest

from flywheel_core.collect import courier


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits after failures, to keep the tests short."""
    monkeypatch.setattr(courier, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(courier, "LONGEST_DELAY", 0.05)
