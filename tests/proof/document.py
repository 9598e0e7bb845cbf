"""docs/proof.md, made from what the tests of promises measured."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import psutil

from flywheel_core.lake.layout import write_atomically

HEAD = """# Proof

What the README promises, broken on purpose. Written by `make prove` on {date} (UTC) on {machine}. The same tests run in CI in
a short form; each row names its own, which runs alone at full size with
`make prove PROOFS=NAME`.
"""
COLUMNS = "| promise | how it was tested | figures | test |\n| --- | --- | --- | --- |\n"


@dataclass(frozen=True)
class Proven:
    """A promise, how it was tested, and the figures of the run; `section` is the module's first line."""

    test: str
    section: str
    promise: str
    how: str
    figures: dict[str, Any]

    def figures_text(self) -> str:
        """The figures in one line."""
        return "; ".join(f"{name.replace('_', ' ')}: {_shown(value)}" for name, value in self.figures.items())


def write_document(path: Path, proven: list[Proven]) -> None:
    """Replace the document. Raises StorageError."""
    memory = round(psutil.virtual_memory().total / 2**30)
    machine = f"{os.cpu_count()} cores, {memory} GiB of memory, Python {platform.python_version()}"
    text = HEAD.format(date=f"{datetime.now(UTC):%Y-%m-%d}", machine=machine)
    ordered = sorted(proven, key=lambda one: one.test)
    for section, rows in groupby(ordered, key=lambda one: one.section):
        text += f"\n## {section}\n\n{COLUMNS}" + "".join(map(_row, rows))
    write_atomically(path, text.encode())


def _row(one: Proven) -> str:
    cells = [one.promise, one.how, one.figures_text(), f"`{one.test}`"]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
