"""Texts that are read beside their rows: each row gets its own, however either is cut into batches."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel_core.errors import StorageError
from flywheel_core.lake.parquet import parquet_file, write_rows
from flywheel_core.lake.texts import texts_of, with_texts

SCHEMA = pa.schema([("number", pa.int64()), ("text", pa.string())])


def cut(values: pa.Array, ends: set[int]) -> list[pa.Array]:
    """Cut an array at the places in `ends`; the pieces may be empty."""
    edges = [0, *sorted(end for end in ends if end <= len(values)), len(values)]
    return [values.slice(start, end - start) for start, end in pairwise(edges)]


def batches(count: int, ends: set[int]) -> list[pa.RecordBatch]:
    numbers = cut(pa.array(range(count), pa.int64()), ends)
    return [pa.record_batch([piece], names=["number"]) for piece in numbers]


@given(st.integers(0, 40), st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_each_row_gets_its_text(count: int, rows: set[int], texts: set[int]) -> None:
    words = cut(pa.array([f"text {number}" for number in range(count)], pa.string()), texts)
    found = pa.Table.from_batches(with_texts(batches(count, rows), words, SCHEMA), SCHEMA)
    assert found["number"].to_pylist() == list(range(count))
    assert found["text"].to_pylist() == [f"text {number}" for number in range(count)]


@pytest.mark.parametrize(("count", "which"), [(2, "fewer"), (4, "more")])
def test_texts_and_rows_of_different_number_are_an_error(count: int, which: str) -> None:
    words = pa.array(["a"] * count, pa.string())
    for texts in ([words], cut(words, {3})):
        with pytest.raises(StorageError, match=f"{which} texts than data points"):
            list(with_texts(batches(3, set()), texts, SCHEMA))


def test_only_the_rows_asked_for_are_read(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    texts = [None if number % 7 == 0 else f"text {number // 3}" for number in range(10_000)]
    with parquet_file(path, SCHEMA) as writer:
        writer.write(pa.table([pa.array(range(10_000), pa.int64()), pa.array(texts)], schema=SCHEMA))
    keep = np.arange(10_000) % 3 == 0
    found = [text for batch in texts_of(path, "text", keep) for text in batch.to_pylist()]
    assert found == texts[::3]


def test_a_damaged_page_is_named(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    with parquet_file(path, SCHEMA) as writer:
        writer.write(pa.table([pa.array([1], pa.int64()), pa.array(["a" * 1_000])], schema=SCHEMA))
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"table\.parquet"):
        list(texts_of(path, "text", np.array([True])))


@pytest.mark.parametrize("batch_rows", [1, 7, 1_000])
def test_row_groups_of_long_texts_have_fewer_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_rows: int
) -> None:
    monkeypatch.setattr("flywheel_core.lake.parquet.GROUP_BYTES", 1_000)
    monkeypatch.setattr("flywheel_core.lake.parquet.ROW_GROUP", 50)
    texts = ["x" * (400 if 20 <= number < 30 else 1) for number in range(200)]
    table = pa.table([pa.array(range(200), pa.int64()), pa.array(texts)], schema=SCHEMA)
    path = tmp_path / "table.parquet"
    write_rows(path, SCHEMA, table.to_batches(max_chunksize=batch_rows))
    with pq.ParquetFile(path) as file:
        groups = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
        assert file.read().equals(table)
    assert groups == [23, 3, 3, 50, 50, 50, 21]
