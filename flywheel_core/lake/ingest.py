"""A day's raw files become the tables `responses` and `rejects`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from flywheel_core.config import Config
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import TableFile

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


@dataclass(frozen=True)
class IngestResult:
    """What one ingest of a day read and kept; `lines` = `accepted` + `duplicates` + `rejected`.

    open: the UTC day is not over; files: names of the raw files; blank lines are not in `lines`.
    """

    day: date
    open: bool
    files: tuple[str, ...]
    bytes_read: int
    lines: int
    accepted: int
    duplicates: int
    rejected: int
    blank: int
    rejected_by_code: dict[str, int]
    unknown_models: tuple[str, ...]
    responses: TableFile
    rejects: TableFile


def ingest_day(
    layout: Layout,
    day: date,
    config: Config,
    progress: Progress | None = None,
    today: date | None = None,
) -> IngestResult:
    """Read all raw files of `day` and replace its `responses` and `rejects`. `today` is the UTC day unless given."""
    raise NotImplementedError
