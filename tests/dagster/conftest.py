"""Fixtures of the Dagster tests: an empty data folder, and a Dagster instance in memory."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from flywheel_core.config import Config, Dataset, Storage
from flywheel_core.lake.layout import Layout


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A configuration with an empty data folder and a window of a week."""
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
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made
