"""Of long prompts only excerpts are held, and routers learn and decide the same from them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flywheel_core.lake.batches import frames_of
from flywheel_core.learn.charges import lengths_of
from flywheel_core.learn.excerpts import in_excerpts, texts_and_groups
from flywheel_core.learn.features import TextFeatures
from flywheel_core.learn.text import MAX_CHARS, question_group

LONG = [f"translate {'积分 matrix ' * count}please, number {count}" for count in (500, 700, 4_000)]
EXACT = ["x" * (MAX_CHARS - 1), "y" * MAX_CHARS, "é" * (MAX_CHARS + 1)]
TEXTS = ["2 + 2 = ?", *LONG, *EXACT, "ASKED   twice 1", "asked twice 2"]


def test_excerpts_are_measured_like_whole_texts() -> None:
    texts, groups = texts_and_groups(in_excerpts([pl.DataFrame({"text": TEXTS})]))
    features = TextFeatures.fit(TEXTS, dimensions=4, rows=100, seed=0)
    for found, whole in zip(features.transform(texts), features.transform(TEXTS), strict=True):
        np.testing.assert_array_equal(found, whole)
    for text, whole_text in zip(texts, TEXTS, strict=True):
        np.testing.assert_array_equal(features.transform([text])[0], features.transform([whole_text])[0])
    np.testing.assert_array_equal(lengths_of(texts), lengths_of(TEXTS))
    assert groups.tolist() == [question_group(text) for text in TEXTS]


def test_rows_of_whole_texts_give_the_same_excerpts() -> None:
    rows = pl.DataFrame({"text": TEXTS})
    texts, groups = texts_and_groups(rows)
    expected_texts, expected_groups = texts_and_groups(in_excerpts([rows]))
    assert texts == expected_texts
    assert groups.tolist() == expected_groups.tolist()


def test_no_more_than_an_excerpt_of_each_text_is_held() -> None:
    parts = (pl.DataFrame({"text": [f"{number}" * 60_000] * 10}) for number in range(3))
    rows = in_excerpts(parts)
    assert rows.height == 30
    assert rows["text"].str.len_chars().max() == MAX_CHARS + 1
    assert rows["characters"].to_list() == [60_000] * 30


@pytest.mark.parametrize("columns", [None, ["number"], ["text", "number"]])
def test_a_file_is_read_in_order_a_thousand_rows_at_a_time(tmp_path: Path, columns: list[str] | None) -> None:
    whole = pl.DataFrame({"number": range(10_000), "text": [str(number) for number in range(10_000)]})
    whole.write_parquet(tmp_path / "rows.parquet", row_group_size=7_000)
    parts = list(frames_of(tmp_path / "rows.parquet", columns))
    assert pl.concat(parts).equals(whole.select(columns or whole.columns))
    assert max(part.height for part in parts) <= 1_024


def test_a_file_without_rows_gives_one_empty_frame(tmp_path: Path) -> None:
    pl.DataFrame({"text": []}, schema={"text": pl.String}).write_parquet(tmp_path / "rows.parquet")
    assert [part.height for part in frames_of(tmp_path / "rows.parquet")] == [0]
