"""Locks in the data folder where the file system has none, as some network file systems."""

import errno
import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel_core.collect.spool import Spool
from flywheel_core.errors import StorageError
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.lock import only_one
from flywheel_core.learn.champion import one_promoter
from flywheel_core.serve.keys import KeyStore
from flywheel_dagster.home import prepare_home


def _alone(folder: Path) -> None:
    with only_one(folder / ".lock", "another process is there", "wait"):
        pass


def _promoting(folder: Path) -> None:
    with one_promoter(Layout(folder)):
        pass


@pytest.mark.parametrize(
    "act",
    [
        _alone,
        _promoting,
        lambda folder: Spool(folder, 1_000_000).open(),
        lambda folder: KeyStore(folder / "keys.json").create("gateway"),
        prepare_home,
    ],
    ids=["collector", "promoter", "spool", "keys", "dagster"],
)
def test_a_file_system_without_locks_is_named_and_not_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], None]
) -> None:
    def refuse(_handle: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match=r"cannot lock .*: No locks available") as caught:
        act(tmp_path)
    assert caught.value.hint == "put the folder on a file system that has locks (flock)"
