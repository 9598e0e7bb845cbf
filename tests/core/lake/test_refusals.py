"""Disks that refuse and files that are damaged inside: an error that names the file, and nothing half-made."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flywheel_core.errors import StorageError
from flywheel_core.lake.atomic import replacing
from flywheel_core.lake.dataset import build_dataset
from flywheel_core.lake.importing import import_files
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import build_table, table_batches
from tests.core.lake.lakes import CONFIG, DAY, LATER, build_day, contents, point, write_raw


def garble(path: Path, column: str) -> None:
    """Overwrite a column of a Parquet file; its footer stays whole, so only reading the column shows the damage."""
    group = pq.read_metadata(path).row_group(0)
    (chunk,) = [one for at in range(group.num_columns) if (one := group.column(at)).path_in_schema == column]
    content = bytearray(path.read_bytes())
    begin = chunk.dictionary_page_offset or chunk.data_page_offset
    content[begin : begin + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(content)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"old")
    with (
        pytest.raises(StorageError, match=r"cannot write .*table: No space left on device"),
        replacing(path) as temporary,
    ):
        temporary.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert contents(tmp_path) == {"table": b"old"}


def test_a_table_is_not_built_without_a_place_for_what_does_not_fit_into_memory(layout: Layout) -> None:
    write_raw(layout, [point("a", {"big": 0.5, "coder": 0.25})])
    ingest_day(layout, DAY, CONFIG, today=LATER)
    (layout.root / ".scratch").write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot make the folder .*\.scratch"):
        build_table(layout, "training_examples", DAY, CONFIG)


def test_an_import_without_a_place_for_its_days_writes_none(layout: Layout, tmp_path: Path) -> None:
    recorded = write_raw(Layout(tmp_path / "recorded"), [point("a", {"big": 0.5})])
    layout.root.mkdir(exist_ok=True)
    (layout.root / ".scratch").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write under"):
        import_files(layout, [recorded])
    assert layout.raw_days() == []


@pytest.mark.parametrize(
    ("table", "columns", "step"),
    [
        (
            "responses",
            ("score", "question"),
            lambda layout: build_table(layout, "training_examples", DAY, CONFIG),
        ),
        ("training_examples", ("question_key", "text"), lambda layout: build_dataset(layout, DAY, CONFIG)),
        ("responses", ("answer",), lambda layout: list(table_batches(layout, "responses", DAY))),
    ],
    ids=["a table", "a dataset", "reading"],
)
def test_a_table_that_is_damaged_inside_is_named_with_what_to_do(
    layout: Layout, table: str, columns: tuple[str, ...], step: Callable[[Layout], object]
) -> None:
    write_raw(layout, [point(str(number), {"big": 0.5, "coder": 0.25}) for number in range(50)])
    build_day(layout)
    path = layout.table(table, DAY)
    whole = path.read_bytes()
    for column in columns:
        path.write_bytes(whole)
        garble(path, column)
        before = contents(layout.root)
        with pytest.raises(StorageError, match=re.escape(f"cannot read the table {path}: ")) as told:
            step(layout)
        assert told.value.hint == f"build the day again: flywheel ingest {DAY}, then flywheel label {DAY}"
        assert contents(layout.root) == before
