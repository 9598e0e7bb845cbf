"""Datasets: the window, the files and what the manifest says."""

import json
import random
import shutil
from datetime import date, timedelta

import polars as pl
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from flywheel_core.errors import NoDataError
from flywheel_core.lake import dataset, parquet
from flywheel_core.lake.atomic import sha256_of
from flywheel_core.lake.columns import split_of
from flywheel_core.lake.dataset import (
    build_dataset,
)
from flywheel_core.lake.dataset_files import EXAMPLES_FILE, SPLITS
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.schemas import EXAMPLES
from flywheel_core.lake.tables import build_table
from tests.core.lake.lakes import (
    CONFIG,
    DAY,
    LATER,
    build_day,
    contents,
    examples_of,
    line,
    point,
    with_dataset,
    write_questions,
    write_raw,
)

NEXT = DAY + timedelta(days=1)


def lines_of(layout: Layout, version: str, split: str) -> list[dict[str, str]]:
    """Return the lines of one of a version's JSON Lines files."""
    text = (layout.dataset(version) / f"{split}.jsonl").read_text(encoding="utf-8")
    return [json.loads(found) for found in text.split("\n") if found]


def test_a_dataset_is_three_files_for_trainers_and_one_with_everything(layout: Layout) -> None:
    write_questions(layout, 120)
    built = build_dataset(layout, DAY, CONFIG)
    assert built.path == layout.dataset(built.version)
    assert {path.name for path in built.path.iterdir()} == {
        "train.jsonl",
        "validation.jsonl",
        "test.jsonl",
        "examples.parquet",
        "dataset.json",
    }
    examples = examples_of(layout, built.version)
    assert list(examples[0]) == EXAMPLES.names
    assert [row["id"] for row in examples] == [f"{DAY}-{number}" for number in range(120)]
    for split in SPLITS:
        assert lines_of(layout, built.version, split) == [
            {"text": row["text"], "label": row["label"]} for row in examples if row["split"] == split
        ]
    assert sum(len(lines_of(layout, built.version, split)) for split in SPLITS) == 120
    assert all(row["split"] == split_of(row["text"]) for row in examples)
    assert "，问题" in (built.path / "train.jsonl").read_text(encoding="utf-8")


def test_unlabelled_examples_are_kept_but_stand_in_no_file(layout: Layout) -> None:
    write_raw(
        layout,
        [
            point("low", {"big": 0.25, "coder": 0.125}),
            point("odd", {"big": 0.25, "stranger": 0.875}),
            point("silent", {}),
        ],
    )
    build_day(layout)
    built = build_dataset(layout, DAY, CONFIG)
    rows = {
        row["id"]: (row["label"], row["copies"], row["left_out"])
        for row in examples_of(layout, built.version)
    }
    assert rows == dict.fromkeys(["low", "odd", "silent"], (None, 0, "unlabelled"))
    assert all(lines_of(layout, built.version, split) == [] for split in SPLITS)
    assert built.manifest["unknown_models"] == {"stranger": 1}
    assert built.manifest["rules"] == {"below_min_score": 1, "too_few_scores": 1, "unknown_model": 1}


def test_the_window_ends_with_its_last_day_and_names_missing_days(layout: Layout) -> None:
    days = [DAY + timedelta(days=number) for number in range(5)]
    for day in (days[0], days[2], days[4]):
        write_questions(layout, 3, day)
    built = build_dataset(layout, days[3], with_dataset(window_days=3))
    assert {row["day"] for row in examples_of(layout, built.version)} == {days[2]}
    assert [found["day"] for found in built.manifest["inputs"]] == [str(days[2])]
    assert built.manifest["days_missing"] == [str(days[1]), str(days[3])]
    assert built.manifest["inputs"][0]["sha256"] == sha256_of(layout.table("training_examples", days[2]))


@pytest.mark.parametrize(("name", "most"), [("max_weight", 1_000_000_000), ("seed", 2**63 - 1)])
def test_the_largest_number_that_a_setting_takes_makes_a_dataset(
    layout: Layout, name: str, most: int
) -> None:
    """A larger one than DuckDB has would fail wherever it is opened."""
    write_questions(layout, 6)
    assert build_dataset(layout, DAY, with_dataset(**{name: most})).manifest["counts"]["examples"] == 6
    with pytest.raises(ValidationError, match="less than or equal to"):
        with_dataset(**{name: 2**128})


def test_more_examples_than_one_row_group_holds(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP", 1_000)
    monkeypatch.setattr(dataset, "_BATCH_ROWS", 2_048)
    write_raw(
        layout,
        [point(f"p{number}", {"big": 0.9, "coder": 0.5}, question=f"q{number:x}") for number in range(5_000)],
    )
    build_day(layout)
    built = build_dataset(layout, DAY, CONFIG)
    rows = pl.read_parquet(built.path / "examples.parquet")
    assert rows.height == rows["id"].n_unique() == 5_000
    assert pq.read_metadata(built.path / "examples.parquet").num_row_groups == 5


def test_examples_put_together_in_many_parts_are_the_same_bytes(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question's repeats come a day after its first point, and so lie outside the part that holds it."""
    write_questions(layout, 60)
    write_questions(layout, 45, NEXT)
    whole = build_dataset(layout, NEXT, CONFIG)
    written = contents(whole.path)
    assert max(len(row["data_point_ids"]) for row in examples_of(layout, whole.version)) > 1
    shutil.rmtree(whole.path)
    monkeypatch.setattr(dataset, "_PART", 7)
    assert contents(build_dataset(layout, NEXT, CONFIG).path) == written


def test_a_window_without_any_day_is_no_dataset(layout: Layout) -> None:
    with pytest.raises(NoDataError, match="2026-01-05"):
        build_dataset(layout, DAY, CONFIG)


def test_a_window_of_empty_days_is_an_empty_dataset(layout: Layout) -> None:
    build_day(layout)
    built = build_dataset(layout, DAY, CONFIG)
    assert built.manifest["counts"]["examples"] == 0
    assert examples_of(layout, built.version) == []


def test_cost_does_not_grow_with_days_before_the_window(layout: Layout) -> None:
    """Files before the window are not opened, so unreadable ones do not matter."""
    for back in range(1, 4):
        path = layout.table("training_examples", DAY - timedelta(days=back + 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not a table")
    write_raw(layout, [line(point("a", {"big": 0.9, "coder": 0.5}))])
    build_day(layout)
    assert build_dataset(layout, DAY, with_dataset(window_days=2)).manifest["counts"]["examples"] == 1


def test_the_first_day_of_the_calendar_has_a_dataset(layout: Layout) -> None:
    """A raw file whose name has a wrong year must not stop `flywheel dataset all`."""
    write_raw(layout, [point("a", {"big": 0.9, "coder": 0.5})])
    layout.raw_file(DAY).rename(layout.raw / "training_data_00010101.jsonl")
    ingest_day(layout, date.min, CONFIG, today=LATER)
    build_table(layout, "training_examples", date.min, CONFIG)
    manifest = build_dataset(layout, date.min, CONFIG).manifest
    assert (manifest["counts"]["points"], manifest["days_missing"]) == (1, [])


def test_prompts_need_not_fit_into_memory(layout: Layout) -> None:
    """A day of thousands of long prompts could otherwise not be labelled, nor its window become a dataset."""
    storage = CONFIG.storage.model_copy(update={"memory_limit_mb": 64})
    config = CONFIG.model_copy(update={"storage": storage})
    prompts = [f"{number} {random.Random(number).randbytes(24_000).hex()}" for number in range(1_500)]
    write_raw(
        layout,
        [point(f"{number}", {"big": 0.9, "coder": 0.5}, question) for number, question in enumerate(prompts)],
    )
    ingest_day(layout, DAY, config, today=LATER)
    build_table(layout, "training_examples", DAY, config)
    built = build_dataset(layout, DAY, config)
    examples = pl.read_parquet(built.path / EXAMPLES_FILE)
    assert examples["text"].to_list() == prompts
    assert examples["id"].to_list() == [f"{number}" for number in range(1_500)]
