"""Versioned datasets: the window, what makes another version, and what the manifest says."""

import json
import os
import random
import shutil
from datetime import date, timedelta
from typing import Any

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from flywheel_core.config import Config
from flywheel_core.errors import DatasetError, NoDataError, StorageError
from flywheel_core.lake import dataset, parquet
from flywheel_core.lake.atomic import sha256_of
from flywheel_core.lake.columns import split_of
from flywheel_core.lake.dataset import (
    build_dataset,
    latest_dataset,
    load_manifest,
    verify_dataset,
)
from flywheel_core.lake.dataset_files import EXAMPLES_FILE, SPLITS
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.leftovers import HALF_MADE
from flywheel_core.lake.schemas import EXAMPLES
from flywheel_core.lake.selection import select_examples
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
    write_raw,
)

NEXT = DAY + timedelta(days=1)


def lines_of(layout: Layout, version: str, split: str) -> list[dict[str, str]]:
    """Return the lines of one of a version's JSON Lines files."""
    text = (layout.dataset(version) / f"{split}.jsonl").read_text(encoding="utf-8")
    return [json.loads(found) for found in text.split("\n") if found]


def write_questions(layout: Layout, count: int, day: date = DAY, **fields: Any) -> None:
    """Write and build a day of points whose labels alternate between general, math and code."""
    models = ["big", "algebra", "coder"]
    write_raw(
        layout,
        [
            point(
                f"{day}-{number}",
                {model: 0.9 if model == models[number % 3] else 0.25 for model in models},
                question=f"{'abcdefghijklmnopqrstuvwxyz'[number % 26] * (number // 26 + 1)}，问题?",
                **fields,
            )
            for number in range(count)
        ],
        day,
    )
    build_day(layout, day)


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


def test_same_inputs_same_version_same_bytes(layout: Layout) -> None:
    write_questions(layout, 60)
    config = with_dataset(balance="upsample", max_group_share=0.9)
    first = build_dataset(layout, DAY, config)
    written = contents(layout.root)
    for path in first.path.iterdir():
        path.unlink()
    first.path.rmdir()
    second = build_dataset(layout, DAY, config)
    assert second == first
    assert contents(layout.root) == written


def test_a_version_that_is_there_is_not_written_again(layout: Layout) -> None:
    write_questions(layout, 30)
    first = build_dataset(layout, DAY, CONFIG)
    before = {path: path.stat().st_mtime_ns for path in first.path.iterdir()}
    assert build_dataset(layout, DAY, CONFIG) == first
    assert {path: path.stat().st_mtime_ns for path in first.path.iterdir()} == before


def test_a_day_that_is_made_again_meanwhile_is_read_whole(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when late raw files come: points have other numbers then, and would be taken for each other."""
    write_questions(layout, 6)
    made_again: list[object] = []

    def select_late(connection: duckdb.DuckDBPyConnection, settings: Any) -> list[dict[str, Any]]:
        if not made_again:
            made_again.append(write_raw(layout, [point("late", {"big": 0.9, "coder": 0.1})], writer="-first"))
            build_day(layout)
        return select_examples(connection, settings)

    with monkeypatch.context() as patch:
        patch.setattr("flywheel_core.lake.dataset.select_examples", select_late)
        built = build_dataset(layout, DAY, CONFIG)
    content = contents(built.path)
    shutil.rmtree(built.path)
    assert build_dataset(layout, DAY, CONFIG).version == built.version
    assert contents(built.path) == content


def test_days_that_are_made_again_all_the_time_are_an_error(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_questions(layout, 6)

    def select_late(connection: duckdb.DuckDBPyConnection, settings: Any) -> list[dict[str, Any]]:
        build_day(layout)
        return select_examples(connection, settings)

    monkeypatch.setattr("flywheel_core.lake.dataset.select_examples", select_late)
    with pytest.raises(StorageError, match="made again each time"):
        build_dataset(layout, DAY, CONFIG)
    assert not any(layout.datasets.iterdir())


@pytest.mark.parametrize(("name", "most"), [("max_weight", 1_000_000_000), ("seed", 2**63 - 1)])
def test_the_largest_number_that_a_setting_takes_makes_a_dataset(
    layout: Layout, name: str, most: int
) -> None:
    """A larger one than DuckDB has would fail wherever it is opened."""
    write_questions(layout, 6)
    assert build_dataset(layout, DAY, with_dataset(**{name: most})).manifest["counts"]["examples"] == 6
    with pytest.raises(ValidationError, match="less than or equal to"):
        with_dataset(**{name: 2**128})


def test_what_is_left_of_a_version_that_was_removed_in_part_is_replaced(layout: Layout) -> None:
    """Otherwise the nights of that day would all end with 'there is no dataset'."""
    write_questions(layout, 6)
    built = build_dataset(layout, DAY, CONFIG)
    whole = contents(built.path)
    (built.path / "dataset.json").unlink()
    assert build_dataset(layout, DAY, CONFIG).version == built.version
    assert contents(built.path) == whole
    assert [path.name for path in layout.datasets.iterdir() if HALF_MADE.fullmatch(path.name)]


@pytest.mark.parametrize(
    "changed",
    [
        {"dataset": {"seed": 1, "balance": "downsample"}},
        {"labelling": {"min_score": 0.25}},
        {"dataset": {"window_days": 7}},
        {"dataset": {"max_group_share": 0.5}},
        {"dataset": {"group_floor": 5}},
        {"models": {**CONFIG.model_dump(mode="json")["models"], "nameless": {"category": "new"}}},
        {"data_collection": {"training": {"candidate_models": ["coder", "algebra", "big"]}}},
    ],
)
def test_other_settings_are_another_version(layout: Layout, changed: dict[str, Any]) -> None:
    write_questions(layout, 30)
    first = build_dataset(layout, DAY, CONFIG)
    other = Config.model_validate({**CONFIG.model_dump(mode="json"), **changed})
    assert build_dataset(layout, DAY, other).version != first.version


def test_other_inputs_are_another_version_and_the_old_one_stays(layout: Layout) -> None:
    write_questions(layout, 30)
    first = build_dataset(layout, DAY, CONFIG)
    write_questions(layout, 31)
    second = build_dataset(layout, DAY, CONFIG)
    assert first.version != second.version
    verify_dataset(layout, first.version)
    assert latest_dataset(layout) == second.version


def test_the_latest_is_of_the_last_day_and_then_the_one_asked_for_last(layout: Layout) -> None:
    assert latest_dataset(layout) is None
    write_questions(layout, 30)
    first = build_dataset(layout, DAY, CONFIG)
    os.utime(first.path, ns=(1, 1))
    second = build_dataset(layout, DAY, with_dataset(seed=5))
    assert latest_dataset(layout) == second.version
    os.utime(second.path, ns=(2, 2))
    build_dataset(layout, DAY, CONFIG)
    assert latest_dataset(layout) == first.version
    later = build_dataset(layout, NEXT, CONFIG)
    os.utime(later.path, ns=(0, 0))
    assert latest_dataset(layout) == later.version


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


def test_damage_is_found(layout: Layout) -> None:
    write_questions(layout, 30)
    built = build_dataset(layout, DAY, CONFIG)
    verify_dataset(layout, built.version)
    path = built.path / "train.jsonl"
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(DatasetError, match=r"train\.jsonl is damaged"):
        verify_dataset(layout, built.version)
    path.unlink()
    with pytest.raises(DatasetError, match=r"cannot read .*train\.jsonl"):
        verify_dataset(layout, built.version)
    (built.path / "dataset.json").write_text("{", encoding="utf-8")
    with pytest.raises(DatasetError, match="cannot be read"):
        load_manifest(layout, built.version)
    with pytest.raises(DatasetError, match="no dataset"):
        load_manifest(layout, "20200101-000000000000")


def test_a_dataset_of_a_later_format_is_refused_and_this_version_builds_its_own(layout: Layout) -> None:
    write_raw(layout, [point("a", {"big": 0.5, "coder": 0.25})])
    build_day(layout)
    built = build_dataset(layout, DAY, CONFIG)
    later = layout.dataset("20260105-ffffffffffff")
    shutil.copytree(built.path, later)
    manifest = {**built.manifest, "version": later.name, "format": dataset.FORMAT + 1}
    (later / "dataset.json").write_text(json.dumps(manifest))
    assert latest_dataset(layout) == later.name
    with pytest.raises(DatasetError, match=f"has format {dataset.FORMAT + 1}, this version") as told:
        load_manifest(layout, later.name)
    assert told.value.hint == "build one of this version: flywheel dataset 2026-01-05"
    assert build_dataset(layout, DAY, CONFIG).version == latest_dataset(layout) == built.version


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
