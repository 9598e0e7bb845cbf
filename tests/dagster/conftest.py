"""A data folder of its own, and an instance that forgets."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from flywheel_core.config import Config, Dataset, Storage
from flywheel_core.lake.layout import Layout


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A data folder of its own and a window of a week."""
    return Config(
        storage=Storage(data_dir=tmp_path / "data", first_day="2026-01-01"),
        dataset=Dataset(window_days=7, min_examples=20),
    )


@pytest.fixture
def layout(config: Config) -> Layout:
    """The data folder."""
    return Layout(config.storage.data_dir)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance that forgets."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made
