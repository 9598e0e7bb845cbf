"""Removes temporary files and folders that killed processes left behind."""

import contextlib
import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from flywheel_core.lake.layout import Layout

KEPT_SECONDS = 86_400
"""Seconds for which something temporary is kept after its last write: no run takes a day over one piece of work."""

HALF_MADE = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
"""Matches the names that `half_made` returns."""
SCRATCH = re.compile(r"[0-9a-f]{32}")
"""Matches the folders in `.scratch` where DuckDB spills and imports gather days."""


def remove_leftovers(layout: Layout) -> int:
    """Remove temporary files and folders that were not written to for a day; return how many were removed.

    A folder counts as written when anything in it was. The cost is one listing of each folder where temporary names are
    made, whatever it holds. What cannot be listed or removed stays and is not counted: a run must not fail over it.
    """
    before = time.time() - KEPT_SECONDS
    return sum(_remove(path) for path in _found(layout) if _last_written(path) < before)


def _found(layout: Layout) -> Iterator[Path]:
    """Yield everything with a temporary name, from every folder where such names are made."""
    flat = (
        layout.raw,
        layout.rejected,
        layout.datasets,
        layout.routers,
        layout.spool,
        layout.decisions,
        layout.reports,
    )
    tables = [layout.tables / name for name in _names(layout.tables)]
    for folder in (layout.root, *flat, *tables):
        yield from (folder / name for name in _names(folder) if HALF_MADE.fullmatch(name))
    scratch = layout.root / ".scratch"
    yield from (scratch / name for name in _names(scratch) if SCRATCH.fullmatch(name))


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _last_written(path: Path) -> float:
    """Return when `path` or anything in it was last written, in unix seconds; the current time if that is unknown."""
    try:
        found = path.lstat()
        inside = path.rglob("*") if stat.S_ISDIR(found.st_mode) else ()
        return max(found.st_mtime, *(one.lstat().st_mtime for one in inside), 0.0)
    except OSError:
        return time.time()


def _remove(path: Path) -> bool:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        return True
    return False
