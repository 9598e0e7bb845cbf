"""A dataset's version: the same for the same inputs and settings, whole, and the latest of its day."""

import json
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flywheel_core.config import Config
from flywheel_core.errors import DatasetError, StorageError
from flywheel_core.lake import dataset
from flywheel_core.lake.dataset import (
    build_dataset,
    dataset_versions,
    latest_dataset,
    load_manifest,
    verify_dataset,
)
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.leftovers import HALF_MADE
from flywheel_core.lake.order import ORDER, note_version
from flywheel_core.lake.selection import select_examples
from tests.core.lake.lakes import (
    CONFIG,
    DAY,
    build_day,
    contents,
    point,
    with_dataset,
    write_questions,
    write_raw,
)


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


def test_a_backfill_beside_that_makes_one_day_after_another_is_waited_out(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try meets a further day of the window, although none is made more than once."""
    write_questions(layout, 6)
    expected = build_dataset(layout, DAY, CONFIG)
    shutil.rmtree(expected.path)
    made_again: list[object] = []

    def select_late(connection: duckdb.DuckDBPyConnection, settings: Any) -> list[dict[str, Any]]:
        if len(made_again) < 7:
            build_day(layout)
            made_again.append(DAY)
        return select_examples(connection, settings)

    monkeypatch.setattr("flywheel_core.lake.unchanged.WAIT_SECONDS", 0.001)
    monkeypatch.setattr("flywheel_core.lake.dataset.select_examples", select_late)
    assert build_dataset(layout, DAY, CONFIG).version == expected.version


def test_days_that_are_made_again_all_the_time_are_an_error(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_questions(layout, 6)
    monkeypatch.setattr("flywheel_core.lake.unchanged.WAIT_SECONDS", 0.001)

    def select_late(connection: duckdb.DuckDBPyConnection, settings: Any) -> list[dict[str, Any]]:
        build_day(layout)
        return select_examples(connection, settings)

    monkeypatch.setattr("flywheel_core.lake.dataset.select_examples", select_late)
    with pytest.raises(StorageError, match="made again each time"):
        build_dataset(layout, DAY, CONFIG)
    assert not any(layout.datasets.iterdir())


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
    second = build_dataset(layout, DAY, with_dataset(seed=5))
    assert latest_dataset(layout) == second.version
    build_dataset(layout, DAY, CONFIG)
    assert latest_dataset(layout) == first.version
    later = build_dataset(layout, DAY + timedelta(days=1), CONFIG)
    build_dataset(layout, DAY, CONFIG)
    assert latest_dataset(layout) == later.version


def test_in_a_copy_the_latest_is_the_same(layout: Layout, tmp_path: Path) -> None:
    """`cp -r` gives every folder the time at which it was copied, in whatever order."""
    write_questions(layout, 30)
    made = [build_dataset(layout, DAY, with_dataset(seed=seed)).version for seed in range(4)]
    copy = Layout(tmp_path / "copy")
    shutil.copytree(layout.root, copy.root)
    for number, version in enumerate(reversed(made)):
        os.utime(copy.dataset(version), (number, number))
    assert dataset_versions(copy) == dataset_versions(layout) == made


def test_datasets_of_an_earlier_version_come_first_in_order_of_their_folders_times(layout: Layout) -> None:
    """It kept no list of them; a name that was torn off in the list hides no version."""
    write_questions(layout, 30)
    made = [build_dataset(layout, DAY, with_dataset(seed=seed)).version for seed in range(3)]
    for number, version in enumerate(reversed(made)):
        os.utime(layout.dataset(version), (number, number))
    (layout.datasets / ORDER).write_text(made[0][:9])
    assert dataset_versions(layout) == made[::-1]
    build_dataset(layout, DAY, with_dataset(seed=1))
    assert dataset_versions(layout) == [made[2], made[0], made[1]]


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
    note_version(layout.datasets, later.name)
    assert latest_dataset(layout) == later.name
    with pytest.raises(DatasetError, match=f"has format {dataset.FORMAT + 1}, this version") as told:
        load_manifest(layout, later.name)
    assert told.value.hint == "build one of this version: flywheel dataset 2026-01-05"
    assert build_dataset(layout, DAY, CONFIG).version == latest_dataset(layout) == built.version
