"""Finds and removes what the data folder no longer needs: old days, and versions that nothing in force uses.

Nothing of this is removed automatically. Some things are always kept: the days of the dataset window and of the
week that label drift is measured against, the router in service and those before it that a rollback can reach,
and the datasets that kept routers were trained on. Logs of decisions are not removed here: each gateway removes
its own after `gateway.decision_log_days`.
"""

import shutil
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from flywheel_core.config import Config
from flywheel_core.errors import StorageError, UsageError
from flywheel_core.lake.atomic import half_made
from flywheel_core.lake.dataset import dataset_versions
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.schemas import TABLES
from flywheel_core.lake.tables import DRIFT_DAYS
from flywheel_core.learn.champion import MANIFEST, router_versions
from flywheel_core.learn.registry import Registry

_EVALUATION_KINDS = ("json", "html")


@dataclass(frozen=True)
class Removal:
    """A file or folder that may be removed.

    kind: raw, rejected, tables, dataset, router, evaluation or run; of: its day or version.
    """

    kind: str
    of: str
    path: Path
    bytes: int


def least_days(config: Config) -> int:
    """Return the fewest days before today that must be kept: the dataset window, and the week before it."""
    return config.dataset.window_days + DRIFT_DAYS


def first_kept(keep_days: int, today: date) -> date:
    """Return the first day to keep: `keep_days` days before `today`, or the calendar's first."""
    return date.fromordinal(max(1, today.toordinal() - keep_days))


def days_to_prune(
    layout: Layout, config: Config, keep_days: int, today: date, *, certain: bool = False
) -> list[Removal]:
    """Return the files of days more than `keep_days` days before `today`, the oldest first.

    These are raw files, rejected points and tables. Raises UsageError when `keep_days` is less than `least_days`,
    and, unless `today` is `certain`, when the newest of them was followed by more than `keep_days` days without
    data, as by a clock that is far ahead; StorageError when a folder cannot be read.
    """
    least = least_days(config)
    if keep_days < least:
        raise UsageError(
            f"{keep_days} days are too few to keep: datasets look back {config.dataset.window_days} days"
            f" (dataset.window_days) and label drift {DRIFT_DAYS} more",
            hint=f"keep at least {least}",
        )
    first = first_kept(keep_days, today)
    found = [("raw", day, path) for day, paths in layout.raw_files_by_day().items() for path in paths]
    found += [("rejected", day, path) for day, path in layout.rejected_files_by_day()]
    found += [("tables", day, layout.table(name, day)) for name in TABLES for day in layout.table_days(name)]
    if not certain:
        _doubt_a_long_pause({day for _, day, _ in found}, first, keep_days, today)
    return [
        Removal(kind, day.isoformat(), path, _size(path))
        for kind, day, path in sorted(found, key=lambda one: (one[1], one[2]))
        if day < first
    ]


def _doubt_a_long_pause(days: Set[date], first: date, keep_days: int, today: date) -> None:
    """Raise UsageError when the last of `days` before `first` is more than `keep_days` days before the next of them.

    After the last one, today counts as the next: a collector whose clock is ahead writes to it, or will.
    """
    newest = max((day for day in days if day < first), default=today)
    following = min((day for day in days if day >= first), default=today)
    if (following - newest).days > keep_days:
        raise UsageError(
            f"the newest day that would go is {newest}, and no later one has data until {following}, more than"
            f" {keep_days} days later: is today {today}?",
            hint=f"if today is {today}, say so: --today {today}; otherwise set the clock",
        )


def versions_to_prune(layout: Layout, registry: Registry, keep_versions: int) -> list[Removal]:
    """Return the routers, their evaluations and the datasets beyond the newest `keep_versions` of each.

    Also kept are the champion, the versions that the next `keep_versions` rollbacks would put into service,
    and the datasets of all kept routers. In the result an evaluation comes before its router, by which it is
    found, and every router before the datasets, so that none is ever left without its own. Raises UsageError
    for fewer than one version, RouterError when the pointer or the log is damaged, StorageError when a folder
    cannot be read.
    """
    if keep_versions < 1:
        raise UsageError(f"{keep_versions} versions are too few to keep", hint="keep at least 1")
    champion = registry.champion()
    routers = router_versions(layout)
    back = registry.way_back()[:keep_versions]
    kept = {*routers[-keep_versions:], *back, *([champion.version] if champion else [])}
    datasets = dataset_versions(layout)
    needed = {*datasets[-keep_versions:], *(_dataset_of(layout, version) for version in kept)}
    removals = []
    for version in routers:
        if version not in kept:
            pages = (layout.evaluation(version, kind) for kind in _EVALUATION_KINDS)
            removals += [_removal("evaluation", version, page) for page in pages if page.is_file()]
            removals.append(_removal("router", version, layout.router(version)))
    removals += [
        _removal("dataset", version, layout.dataset(version))
        for version in sorted(datasets)
        if version not in needed
    ]
    return removals


def prune(
    removals: Sequence[Removal], registry: Registry, progress: Callable[[int, int], None] | None = None
) -> int:
    """Remove `removals` and return their bytes. A file that is already gone is not an error.

    A folder vanishes in one step: a process that dies half-way leaves whole versions, and a leftover that the
    next dataset run removes. progress: called with how many are done and how many there are. Raises
    RouterError for a router that was put into service meanwhile, StorageError when the system refuses.
    """
    freed = 0
    for done, removal in enumerate(removals, start=1):
        if removal.kind == "router":
            with registry.unserved(removal.of):
                _remove(removal.path)
        else:
            _remove(removal.path)
        freed += removal.bytes
        if progress:
            progress(done, len(removals))
    return freed


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path.rename(half_made(path)))
        else:
            path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"cannot remove {path}: {error.strerror or error}") from error


def _dataset_of(layout: Layout, version: str) -> str | None:
    """Return the dataset that a router was trained on; None for a damaged router, which needs none."""
    try:
        facts: dict[str, Any] = msgspec.json.decode((layout.router(version) / MANIFEST).read_bytes())
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    found = facts.get("dataset")
    return found if isinstance(found, str) else None


def _removal(kind: str, of: str, path: Path) -> Removal:
    return Removal(kind, of, path, _size(path))


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; 0 when it is gone."""
    try:
        return sum(one.lstat().st_size for one in (path.rglob("*") if path.is_dir() else (path,)))
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
