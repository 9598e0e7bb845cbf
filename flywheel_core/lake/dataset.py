"""A window of days becomes one immutable, versioned training dataset."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from flywheel_core.config import Config
from flywheel_core.lake.layout import Layout

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class DatasetResult:
    """A dataset version as it lies on disk; `manifest` is its dataset.json."""

    version: str
    path: Path
    last_day: date
    manifest: dict[str, Any]


def build_dataset(layout: Layout, last_day: date, config: Config) -> DatasetResult:
    """Build, or find already built, the dataset of the window that ends at `last_day`."""
    raise NotImplementedError


def latest_dataset(layout: Layout) -> str | None:
    """The version whose window ends last, or None."""
    raise NotImplementedError


def load_manifest(layout: Layout, version: str) -> dict[str, Any]:
    """The dataset.json of a version. Raises DatasetError."""
    raise NotImplementedError


def verify_dataset(layout: Layout, version: str) -> None:
    """Raise DatasetError unless every file of the version has the SHA-256 that dataset.json says."""
    raise NotImplementedError


def split_of(question: str) -> Split:
    """The side of the split that a question is on, for ever."""
    raise NotImplementedError
