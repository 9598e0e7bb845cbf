"""Fixtures of the collection tests."""

import pytest

from flywheel_core.collect import courier


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits after failed uploads, so that the tests are fast."""
    monkeypatch.setattr(courier, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(courier, "LONGEST_DELAY", 0.05)
