"""Reads the examples of a dataset's splits, for training and evaluation."""

from collections.abc import Iterator, Sequence

import polars as pl
import pyarrow as pa

from flywheel_core.errors import DatasetError
from flywheel_core.lake.batches import frames_of
from flywheel_core.lake.dataset_files import EXAMPLES_FILE
from flywheel_core.lake.layout import Layout
from flywheel_core.learn.excerpts import in_excerpts


def read_split(layout: Layout, dataset: str, *splits: str, most: int | None = None) -> pl.DataFrame:
    """Return the examples that `rows_of` yields in one frame, with excerpts in place of long texts."""
    return in_excerpts(rows_of(layout, dataset, splits, most))


def rows_of(
    layout: Layout, dataset: str, splits: Sequence[str], most: int | None = None
) -> Iterator[pl.DataFrame]:
    """Yield the examples in these splits of a dataset, in order, or the `most` of them with the lowest question hashes.

    Raises DatasetError when the file cannot be read.
    """
    path = layout.dataset(dataset) / EXAMPLES_FILE
    used = pl.col("split").is_in(splits)
    try:
        if most is not None:
            keys = pl.concat(
                part.filter(used)["question_key"] for part in frames_of(path, ["split", "question_key"])
            ).sort()
            if len(keys) > most:
                used &= pl.col("question_key") <= keys[most - 1]
        yield from (part.filter(used) for part in frames_of(path))
    except (OSError, pa.ArrowInvalid) as error:
        raise DatasetError(f"the examples of dataset {dataset} cannot be read: {error}") from error
