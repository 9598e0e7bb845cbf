"""Fixtures of the collection tests."""

import pytest

from flywheel_core.collect import courier


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits after failed uploads, so that the tests are fast."""
    monkeypatch.setattr(courier, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(courier, "LONGEST_DELAY", 0.05)


@pytest.fixture(params=["pooled", "httpx"])
def kind(request: pytest.FixtureRequest) -> str:
    """The transport below a call: our pool of connections, or httpx's own."""
    return str(request.param)
