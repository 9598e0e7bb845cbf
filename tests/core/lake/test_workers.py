"""Several processes that read chunks give the same rows as one, and a failure leaves nothing behind."""

import contextlib
import os
import resource
import tempfile
import time
from collections import deque
from itertools import cycle, islice
from pathlib import Path

import psutil
import pytest

from flywheel_core.errors import StorageError
from flywheel_core.lake import raw_lines, reading
from flywheel_core.lake.chunks import Wanted
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.raw_lines import Chunk, plain_chunks
from flywheel_core.lake.workers import read_in_parallel
from tests.core.lake.lakes import CONFIG, DAY, LATER, contents, line, point, write_raw


def workers() -> list[psutil.Process]:
    """Return the reader processes of this process, without children that other tests may have."""
    return [child for child in psutil.Process().children() if _reads(child)]


def workers_started() -> list[psutil.Process]:
    """Return them at once or a little later: a process that has just started has no command line yet."""
    for _ in range(1_000):
        if found := workers():
            return found
        time.sleep(0.01)
    return []


def _reads(child: psutil.Process) -> bool:
    try:
        # the command line is empty once a process has ended and has not been waited for
        return "flywheel_core.lake.worker" in child.cmdline()
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("processors", [1, 2, 8])
def test_several_processes_leave_the_same_bytes_as_one(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, processors: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(processors)))
    monkeypatch.setattr(raw_lines, "CHUNK_BYTES", 20_000)
    values: list[object] = [
        point(f"p{number % 900}", {"big": number / 1000, "coder": None}, question=f"第 {number} 个问题")
        for number in range(1_000)
    ]
    values[500:500] = [b"null\n", b'{"torn\n', b"\n", b"x" * 50_000 + b"\n"]
    write_raw(layout, values)
    alone = ingest_day(layout, DAY, CONFIG, today=LATER)
    written = contents(layout.tables)
    monkeypatch.setattr(reading, "PARALLEL_BYTES", 1)
    together = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert together == alone
    assert contents(layout.tables) == written
    assert (alone.accepted, alone.duplicates, alone.rejected) == (900, 100, 3)
    assert not workers()


def test_a_file_that_cannot_be_read_ends_the_reading(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="gone"):
        list(read_in_parallel([Chunk(str(tmp_path / "gone"), 0, 10)], Wanted(DAY)))
    assert not workers()


def test_a_worker_that_dies_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    monkeypatch.setattr(raw_lines, "CHUNK_BYTES", 20_000)
    path = tmp_path / "raw.jsonl"
    path.write_bytes(b"".join(line(point(f"p{number}", {"big": 0.5})) for number in range(2_000)))
    batches = read_in_parallel(plain_chunks(path), Wanted(DAY))
    next(batches)
    (child,) = workers_started()
    child.kill()
    while child.status() != psutil.STATUS_ZOMBIE:  # else a busy machine may read everything before it dies
        time.sleep(0.01)
    with pytest.raises(StorageError, match="ended with status -9"):
        list(batches)
    assert not workers()


def test_a_worker_that_cannot_write_names_the_folder_of_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small tmpfs at /tmp is full long before the disk of the data folder is."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    monkeypatch.setattr(raw_lines, "CHUNK_BYTES", 20_000)
    path = tmp_path / "raw.jsonl"
    path.write_bytes(b"".join(line(point(f"p{number}", {"big": 0.5})) for number in range(100)))
    chunks = islice(cycle(plain_chunks(path)), 20_000)  # this process reads until the worker has started
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))  # the worker inherits it
    try:
        with pytest.raises(StorageError, match=f"cannot write to a file in {tempfile.gettempdir()}"):
            deque(read_in_parallel(chunks, Wanted(DAY)), maxlen=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not workers()


def test_whoever_stops_early_leaves_no_process(tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    path.write_bytes(line(point("p", {"big": 0.5})))
    batches = read_in_parallel(plain_chunks(path), Wanted(DAY))
    next(batches)
    assert workers_started()
    batches.close()  # type: ignore[attr-defined] # it is a generator
    assert not workers()


def test_a_process_with_many_open_files_reads_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading must not fail when file descriptors have numbers above 1,023."""
    monkeypatch.setattr(raw_lines, "CHUNK_BYTES", 20_000)
    path = tmp_path / "raw.jsonl"
    path.write_bytes(b"".join(line(point(f"p{number}", {"big": 0.5})) for number in range(500)))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_096, hard), hard))
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(1_100):
                stack.enter_context(path.open("rb"))
            found = list(read_in_parallel(plain_chunks(path), Wanted(DAY)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sum(batch.points.num_rows for batch in found) == 500
