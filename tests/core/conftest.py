"""What the core's tests share: a record of the order in which things are made durable."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """Record this process's ("sync", path) and ("rename", new path) in order.

    No kill can show that a sync is missing, only a power cut could.
    """
    found: list[tuple[str, Path]] = []
    fsync = os.fsync

    def sync(handle: int) -> None:
        fsync(handle)
        found.append(("sync", Path(f"/proc/self/fd/{handle}").readlink()))

    monkeypatch.setattr(os, "fsync", sync)

    def rename(really: Callable[[Any, Any], None], old: Any, new: Any) -> None:
        really(old, new)
        found.append(("rename", Path(new)))

    monkeypatch.setattr(os, "replace", partial(rename, os.replace))
    monkeypatch.setattr(os, "rename", partial(rename, os.rename))
    return found
