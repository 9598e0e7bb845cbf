"""Recorded outcomes become raw days."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from flywheel_core.lake.layout import Layout


@dataclass(frozen=True)
class ImportResult:
    """What an import read and wrote; lines = imported + duplicates + rejected. `days` maps day -> points."""

    files: tuple[Path, ...]
    lines: int
    imported: int
    duplicates: int
    rejected: int
    rejected_by_code: dict[str, int]
    days: dict[date, int]
    shifted_days: int
    written: tuple[Path, ...]


def import_files(
    layout: Layout,
    files: Sequence[Path],
    last_day: date | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImportResult:
    """Put recorded outcomes into raw days by their timestamps."""
    raise NotImplementedError
