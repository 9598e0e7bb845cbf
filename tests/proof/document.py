"""Writes docs/proof.md from the figures that the tests of promises measured."""

import os
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import psutil

from flywheel_core.lake.atomic import write_atomically

HEAD = """# Proof

What the README promises, broken on purpose. `make prove` writes this page; a narrower run, `make prove PROOFS=TEST`, renews its own
rows. The same tests run in CI in a short form. Last run on {machine}.
"""
COLUMNS = "| promise | how it was tested | figures | date (UTC) | test |\n| --- | --- | --- | --- | --- |\n"
_ROW = re.compile(r"\| .* \| `(\S+)` \|")


@dataclass(frozen=True)
class Proven:
    """A promise, how it was tested, and the figures of the run; `section` is the first line of the test module."""

    test: str
    section: str
    promise: str
    how: str
    figures: dict[str, Any]

    def figures_text(self) -> str:
        """Return the figures in one line."""
        return "; ".join(f"{name.replace('_', ' ')}: {_shown(value)}" for name, value in self.figures.items())


def write_document(path: Path, proven: list[Proven]) -> None:
    """Replace the rows of `proven` in the document; other rows stay as long as their test file exists.

    Raises StorageError when the document cannot be written.
    """
    memory = round(psutil.virtual_memory().total / 2**30)
    machine = f"{os.cpu_count()} cores, {memory} GiB of memory, Python {platform.python_version()}"
    rows = _rows(path)
    rows |= {one.test: (one.section, _row(one)) for one in proven}
    root = path.parent.parent
    there = {test: found for test, found in rows.items() if (root / test.partition("::")[0]).is_file()}
    text = HEAD.format(machine=machine)
    for section, group in groupby(sorted(there.items()), key=lambda item: item[1][0]):
        text += f"\n## {section}\n\n{COLUMNS}" + "".join(row for _, (_, row) in group)
    write_atomically(path, text.encode())


def _rows(path: Path) -> dict[str, tuple[str, str]]:
    """Return test -> section and row, from the document as it is."""
    rows: dict[str, tuple[str, str]] = {}
    section = ""
    for line in path.read_text(encoding="utf-8").split("\n") if path.is_file() else []:
        if line.startswith("## "):
            section = line[3:]
        elif found := _ROW.fullmatch(line):
            rows[found[1]] = section, f"{line}\n"
    return rows


def _row(one: Proven) -> str:
    cells = [one.promise, one.how, one.figures_text(), f"{datetime.now(UTC):%Y-%m-%d}", f"`{one.test}`"]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
