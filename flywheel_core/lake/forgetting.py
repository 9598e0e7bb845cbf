"""Finds texts in all files of the data folder, and removes the lines with them from what was received.

Raw files and files of rejected points are what was received. Everything else is made from them or kept by rules of its
own, so it is only named.
"""

import gzip
import html
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel_core.errors import DatasetError, StorageError, UsageError
from flywheel_core.lake.atomic import mark_of, replacing
from flywheel_core.lake.dataset import load_manifest
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.lock import only_one
from flywheel_core.lake.raw_lines import whole_lines
from flywheel_core.prompt import clean

_ESCAPE = re.compile(r"\\+(u[0-9A-Fa-f]{4}|[\"/bfnrt])?")
_VERSION = re.compile(r"\d{8}-[0-9a-f]{12}")
"""A dataset in the path of its files, of its routers and of their evaluations."""
_ROWS = 64
"""Rows of a table that are read at once: a thousand with long answers would take a gigabyte."""
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

Holds = Callable[[bytes], bool]
"""Tells whether a line holds one of the texts."""


@dataclass(frozen=True)
class Found:
    """A file that holds one of the texts, or was made from a day that does.

    lines: how many lines or rows hold one; day: the day of a file of what was received, None for all others.
    """

    path: Path
    lines: int
    day: date | None


def holder_of(texts: Sequence[str]) -> Holds:
    """Return the test of lines for `texts`: whatever the case, however JSON escapes the characters, é as one or as two.

    A rejected point is JSON within JSON, as its sender wrote it. Raises UsageError for a blank text, as every line
    holds it.
    """
    wanted = [_plain(text) for text in texts]
    if not all(text.strip() for text in wanted):
        raise UsageError("a text to look for is blank, and every line would hold it")

    def holds(line: bytes) -> bool:
        text = _plain(line.decode("utf-8", "replace"))
        return any(one in text for one in wanted)

    return holds


def find(layout: Layout, holds: Holds, progress: Callable[[int, int], None] | None = None) -> list[Found]:
    """Return all files of the data folder that hold one of the texts, those of what was received first.

    Datasets, routers and evaluations that were made from the days of those also count, whatever they hold: a question
    in them does not say who asked it. A file that vanishes meanwhile is left out. progress: called with how many files
    were searched, and how many there are. Raises StorageError when a file or folder cannot be read.
    """
    received = {path: day for day, paths in layout.raw_files_by_day().items() for path in paths}
    received |= {path: day for day, path in layout.rejected_files_by_day()}
    paths = [*sorted(received), *sorted(set(_files(layout.root, set())) - received.keys())]
    found: list[Found] = []
    days: set[str] = set()

    @cache
    def is_made_from_them(dataset: str) -> bool:
        try:
            return any(one["day"] in days for one in load_manifest(layout, dataset)["inputs"])
        except (DatasetError, KeyError):
            return bool(days)  # it is not there any more, or damaged: nothing says what it was made from

    for number, path in enumerate(paths, start=1):
        try:
            lines = sum(map(holds, _lines(path)))
        except StorageError:
            if path.exists():
                raise
            continue
        day = received.get(path)
        version = _VERSION.search(str(path.relative_to(layout.root)))
        if lines or (day is None and version is not None and is_made_from_them(version[0])):
            found.append(Found(path, lines, day))
        if lines and day is not None:
            days.add(day.isoformat())
        if progress:
            progress(number, len(paths))
    return found


def remove(layout: Layout, files: Sequence[Path], holds: Holds) -> None:
    """Remove the lines that hold one of the texts from files of what was received, whose days must be over.

    Each file is replaced as a whole, also by an empty one, and a second call changes nothing. Raises UsageError while
    answers are scored again, as that writes raw files, StorageError when a file cannot be read or written, or is
    written to meanwhile.
    """
    lock = layout.raw / ".rescore.lock"
    with only_one(
        lock, f"flywheel rescore or another flywheel forget runs in {layout.raw}", "wait until it has ended"
    ):
        for path in files:
            _remove_from(path, holds)


def _remove_from(path: Path, holds: Holds) -> None:
    before = mark_of(path)
    with replacing(path) as temporary:
        with ExitStack() as stack:
            file: BinaryIO = stack.enter_context(temporary.open("wb"))
            shutil.copymode(path, temporary)
            if path.suffix == ".gz":
                packed = gzip.GzipFile("", "wb", fileobj=file, mtime=0)
                file = cast(BinaryIO, stack.enter_context(packed))
            for _, line in whole_lines(path):
                if not holds(line):
                    file.write(line + b"\n")
        if mark_of(path) != before:
            raise StorageError(f"{path} was written to meanwhile, and is left as it is", hint="try it again")


def _files(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """Yield the files below a folder, also where symbolic links lead; `seen` takes the folders, each looked at once.

    Not done with glob, which passes over linked folders, and over those that may not be read.
    """
    try:
        real = folder.resolve()
        entries = [] if real in seen else list(folder.iterdir())
        seen.add(real)
        for path in entries:
            if path.is_dir():
                yield from _files(path, seen)
            elif path.is_file():
                yield path
    except FileNotFoundError:
        return  # it vanished meanwhile
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {error.strerror or error}") from error


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, or the rows of a table as JSON; a router's arrays hold no text."""
    if path.suffix == ".parquet":
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_ROWS):
                    yield from map(msgspec.json.encode, batch.to_pylist())
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"cannot read {path}: {error}") from error
    elif path.suffix == ".html":
        yield from (html.unescape(line.decode("utf-8", "replace")).encode() for _, line in whole_lines(path))
    elif path.suffix != ".npz":
        yield from (line for _, line in whole_lines(path))


def _plain(text: str) -> str:
    """Return a text without capitals, without the escapes of JSON, however deep, and with each accent in its letter."""
    if "\\" in text:
        text = clean(_ESCAPE.sub(_unescaped, text))
    return unicodedata.normalize("NFC", text).casefold()


def _unescaped(found: re.Match[str]) -> str:
    escaped = found[1] or "\\"
    return chr(int(escaped[1:], 16)) if len(escaped) > 1 else _CONTROLS.get(escaped, escaped)
