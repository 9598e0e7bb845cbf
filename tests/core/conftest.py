"""Fixtures shared by the tests of the core."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """Calls of this process that make files durable, as ("sync", path) and ("rename", new path), in order.

    Only a power cut would reveal a missing sync, a killed process does not, so tests check the calls.
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
