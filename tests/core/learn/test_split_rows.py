"""Examples are read from a dataset by split, and of too many of them those with the lowest question hashes."""

from pathlib import Path

import polars as pl
import pytest

from flywheel_core.errors import DatasetError
from flywheel_core.lake.dataset_files import EXAMPLES_FILE
from flywheel_core.lake.layout import Layout
from flywheel_core.learn.split_rows import read_split

TEXTS = {"e": "train", "a": "test", "d": "train", "b": "validation", "c": "train"}
"""Each text is also its question's hash."""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A data folder with one dataset, `v`, of these examples."""
    layout = Layout(tmp_path)
    layout.dataset("v").mkdir(parents=True)
    rows = pl.DataFrame({"text": TEXTS.keys(), "question_key": TEXTS.keys(), "split": TEXTS.values()})
    rows.write_parquet(layout.dataset("v") / EXAMPLES_FILE)
    return layout


def read(layout: Layout, *splits: str, most: int | None = None) -> str:
    return "".join(read_split(layout, "v", *splits, most=most)["text"])


def test_the_splits_asked_for_are_read_in_order(layout: Layout) -> None:
    assert read(layout, "train") == "edc"
    assert read(layout, "train", "validation") == "edbc"


@pytest.mark.parametrize(("most", "found"), [(1, "c"), (2, "dc"), (3, "edc"), (4, "edc")])
def test_of_more_examples_than_asked_for_those_with_the_lowest_hashes_are_read(
    layout: Layout, most: int, found: str
) -> None:
    """The example `a` has a lower hash, but is in another split."""
    assert read(layout, "train", most=most) == found


def test_examples_that_cannot_be_read_are_an_error_that_names_the_dataset(layout: Layout) -> None:
    path = layout.dataset("v") / EXAMPLES_FILE
    path.write_bytes(b"not Parquet")
    with pytest.raises(DatasetError, match="the examples of dataset v cannot be read"):
        read(layout, "train")
    path.unlink()
    with pytest.raises(DatasetError, match="the examples of dataset v cannot be read"):
        read(layout, "train", most=1)
