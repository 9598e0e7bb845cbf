"""Rows of examples that hold only what routers read of long texts, with the measures of the whole texts.

So the memory that training and judging need does not grow with the length of the prompts.
"""

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flywheel_core.learn.text import MAX_CHARS, Excerpt, excerpt, question_group

MEASURES = ("characters", "size", "group")
"""Columns that stand for the whole text of an excerpt: without them the excerpt would count as the whole text."""


def in_excerpts(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return the rows of all parts with excerpts in place of their texts.

    parts: at least one, each with the column `text`. `MEASURES` are added: `characters` and `size`, the length of the
    whole text in code points and in bytes of UTF-8, and its `group`, see `question_group`.
    """
    return pl.concat([_shortened(part) for part in parts])


def texts_and_groups(rows: pl.DataFrame) -> tuple[list[str], NDArray[np.str_]]:
    """Return the texts and groups of rows, whether `in_excerpts` made them or they hold whole texts."""
    if "group" not in rows.columns:
        rows = _shortened(rows)
    texts = [
        text if characters <= MAX_CHARS else Excerpt(text, characters, size)
        for text, characters, size in rows.select("text", "characters", "size").iter_rows()
    ]
    return texts, np.array(rows["group"].to_list(), dtype=np.str_)


def _shortened(rows: pl.DataFrame) -> pl.DataFrame:
    texts = rows["text"].to_list()
    whole = pl.col("text").cast(pl.String)
    return rows.with_columns(
        characters=whole.str.len_chars().cast(pl.Int64),
        size=whole.str.len_bytes().cast(pl.Int64),
        group=pl.Series([question_group(text) for text in texts], dtype=pl.String),
        text=pl.Series([excerpt(text) for text in texts], dtype=pl.String),
    )
