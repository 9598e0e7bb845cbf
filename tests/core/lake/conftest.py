"""Fixtures of the lake tests, and a hypothesis profile without deadlines."""

from pathlib import Path

import pytest
from hypothesis import settings

from flywheel_core.lake.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty data folder."""
    return Layout(tmp_path / "data")


settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
