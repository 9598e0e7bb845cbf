"""Versioned datasets: the window, merging, what they say of themselves."""

import json
import os
from datetime import date, timedelta
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from flywheel_core.config import Config
from flywheel_core.errors import DatasetError, NoDataError
from flywheel_core.lake import dataset, parquet
from flywheel_core.lake.dataset import (
    SPLITS,
    build_dataset,
    latest_dataset,
    load_manifest,
    split_of,
    verify_dataset,
)
from flywheel_core.lake.layout import Layout, sha256_of
from flywheel_core.lake.schemas import EXAMPLES
from tests.core.lake.lakes import CONFIG, DAY, build_day, contents, line, point, response, write_raw

NEXT = DAY + timedelta(days=1)


def with_dataset(**settings_: Any) -> Config:
    """The tests' configuration with other dataset settings."""
    return Config.model_validate({**CONFIG.model_dump(mode="json"), "dataset": settings_})


def examples_of(layout: Layout, version: str) -> list[dict[str, Any]]:
    """The rows of a version's examples.parquet."""
    return pl.read_parquet(layout.dataset(version) / "examples.parquet").to_dicts()


def lines_of(layout: Layout, version: str, split: str) -> list[dict[str, str]]:
    """The lines of one of a version's JSON Lines files."""
    text = (layout.dataset(version) / f"{split}.jsonl").read_text(encoding="utf-8")
    return [json.loads(found) for found in text.split("\n") if found]


def write_questions(layout: Layout, count: int, day: date = DAY, **fields: Any) -> None:
    """Points whose labels take turns."""
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


def test_the_same_point_on_two_days_counts_once(layout: Layout) -> None:
    again = point("twice", {"big": 0.9, "coder": 0.25}, question="once?")
    write_raw(layout, [again], DAY)
    write_raw(layout, [again, point("new", {"big": 0.9, "coder": 0.5}, question="new?")], NEXT)
    build_day(layout, DAY)
    build_day(layout, NEXT)
    built = build_dataset(layout, NEXT, CONFIG)
    rows = {row["id"]: row for row in examples_of(layout, built.version)}
    assert {name: (row["day"], row["weight"]) for name, row in rows.items()} == {
        "twice": (DAY, 1),
        "new": (NEXT, 1),
    }
    assert (built.manifest["counts"]["points"], built.manifest["counts"]["duplicates"]) == (3, 1)


def test_a_question_that_is_asked_on_and_on_weighs_no_more_than_ten(layout: Layout) -> None:
    """The cap on groups counts questions: by repeating one, a client would otherwise outweigh all others in training."""
    lines = [point(f"r{number}", {"big": 0.9, "coder": 0.25}, question="again?") for number in range(25)]
    lines += [point(f"o{number}", {"big": 0.9, "coder": 0.25}, question="often?") for number in range(10)]
    write_raw(layout, [*lines, point("once", {"big": 0.9, "coder": 0.25}, question="once?")])
    build_day(layout, DAY)
    built = build_dataset(layout, DAY, CONFIG)
    rows = {row["text"]: row for row in examples_of(layout, built.version)}
    assert {text: row["weight"] for text, row in rows.items()} == {"again?": 10, "often?": 10, "once?": 1}
    assert len(rows["again?"]["data_point_ids"]) == 25
    assert built.manifest["counts"]["weight_capped"] == 1
    assert built.manifest["counts"]["repeats"] == 24 + 9
    free = build_dataset(layout, DAY, with_dataset(max_weight=100))
    assert free.version != built.version
    assert {row["weight"] for row in examples_of(layout, free.version)} == {25, 10, 1}
    assert free.manifest["counts"]["weight_capped"] == 0


def test_a_mean_that_is_exactly_the_least_score_gives_its_label(layout: Layout) -> None:
    """As floats 2.4 / 3 is a little less than 0.8."""
    scores = (0.7, 0.8, 0.9)
    write_raw(
        layout, [point(f"p{score}", {"big": score, "coder": 0.1}, question="What?") for score in scores]
    )
    build_day(layout, DAY)
    labelling = CONFIG.labelling.model_copy(update={"min_score": 0.8})
    built = build_dataset(layout, DAY, CONFIG.model_copy(update={"labelling": labelling}))
    (row,) = examples_of(layout, built.version)
    assert (row["rule"], row["label"], row["score"]) == ("single_best", "general", 0.8)


def test_equal_mean_costs_are_a_tie_that_the_declared_order_decides(layout: Layout) -> None:
    """As floats 0.3 / 3 is a little less than 0.1."""
    points = [point(f"p{cost}", {"big": 0.9, "coder": 0.9}, question="What?") for cost in (0.0, 0.1, 0.2)]
    for made, cost in zip(points, (0.0, 0.1, 0.2), strict=True):
        made["responses"] = {"big": response("big", cost=0.1), "coder": response("coder", cost=cost)}
    write_raw(layout, points)
    build_day(layout, DAY)
    (row,) = examples_of(layout, build_dataset(layout, DAY, CONFIG).version)
    assert (row["rule"], row["best_model"]) == ("tie_declared", "big")


def test_repeats_of_a_question_are_merged_and_labelled_by_their_mean_scores(layout: Layout) -> None:
    failing = point("c", {"big": None, "coder": 0.5}, question="what IS it ?")
    failing["responses"]["big"] |= {"answer": None, "error": "timeout", "latency_ms": None, "cost": None}
    write_raw(
        layout,
        [
            point("a", {"big": 0.75, "coder": 0.5}, question="What is it?", received_at=10.0),
            point(
                "b", {"big": 0.25, "coder": 1.0, "algebra": 0.5}, question="what is\tit?", received_at=20.0
            ),
        ],
    )
    write_raw(layout, [failing], NEXT)
    build_day(layout, DAY)
    build_day(layout, NEXT)
    built = build_dataset(layout, NEXT, CONFIG)
    (row,) = examples_of(layout, built.version)
    assert (row["id"], row["text"], row["day"], row["received_at"]) == ("a", "What is it?", DAY, 10.0)
    assert (row["weight"], row["data_point_ids"], row["last_received_at"]) == (
        3,
        ["a", "b", "c"],
        1_767_571_260.5,
    )
    assert (row["label"], row["best_model"], row["rule"]) == ("code", "coder", "single_best")
    assert row["score"] == pytest.approx(2 / 3)
    outcomes = {outcome.pop("model"): outcome for outcome in row["outcomes"]}
    assert outcomes["big"] == {
        "score": 0.5,
        "failed": False,
        "cost": 0.25,
        "latency_ms": 100.0,
        "asked": 1.0,
        "times": 3,
        "failures": 1,
        "scored": 2,
    }
    assert (outcomes["algebra"]["times"], outcomes["coder"]["scored"]) == (1, 3)
    assert built.manifest["counts"]["repeats"] == 2


def test_how_likely_a_model_was_asked_is_kept_so_that_its_answers_stand_for_as_many_questions(
    layout: Layout,
) -> None:
    """One of four questions and one of two: together two answers for six."""
    scores = {"big": 0.75, "coder": 0.5}
    for name, chance in (("a", 0.25), ("b", 0.5)):
        write_raw(
            layout,
            [point(name, scores, question="same?", asked={"big": 1.0, "coder": chance})],
            DAY,
            writer=name,
        )
    build_day(layout)
    (row,) = examples_of(layout, build_dataset(layout, DAY, CONFIG).version)
    assert {one["model"]: one["asked"] for one in row["outcomes"]} == {"big": 1.0, "coder": 0.333333333333}


def test_equal_scores_stay_what_they_are_when_merged(layout: Layout) -> None:
    third = 1 / 3
    write_raw(layout, [point(name, {"big": third, "coder": 0.9}, question="same") for name in "abc"])
    build_day(layout)
    (row,) = examples_of(layout, build_dataset(layout, DAY, CONFIG).version)
    assert [outcome["score"] for outcome in row["outcomes"]] == [third, 0.9]


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


def test_damage_is_found(layout: Layout) -> None:
    write_questions(layout, 30)
    built = build_dataset(layout, DAY, CONFIG)
    verify_dataset(layout, built.version)
    path = built.path / "train.jsonl"
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(DatasetError, match=r"train\.jsonl is damaged"):
        verify_dataset(layout, built.version)
    path.unlink()
    with pytest.raises(DatasetError, match=r"train\.jsonl cannot be read"):
        verify_dataset(layout, built.version)
    (built.path / "dataset.json").write_text("{", encoding="utf-8")
    with pytest.raises(DatasetError, match="cannot be read"):
        load_manifest(layout, built.version)
    with pytest.raises(DatasetError, match="no dataset"):
        load_manifest(layout, "20200101-000000000000")


def test_a_window_without_any_day_is_no_dataset(layout: Layout) -> None:
    with pytest.raises(NoDataError, match="2026-01-05"):
        build_dataset(layout, DAY, CONFIG)


def test_a_window_of_empty_days_is_an_empty_dataset(layout: Layout) -> None:
    build_day(layout)
    built = build_dataset(layout, DAY, CONFIG)
    assert built.manifest["counts"]["examples"] == 0
    assert examples_of(layout, built.version) == []


def test_cost_does_not_grow_with_days_before_the_window(layout: Layout) -> None:
    """Days before the window are not opened: unreadable ones do not matter."""
    for back in range(1, 4):
        path = layout.table("training_examples", DAY - timedelta(days=back + 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not a table")
    write_raw(layout, [line(point("a", {"big": 0.9, "coder": 0.5}))])
    build_day(layout)
    assert build_dataset(layout, DAY, with_dataset(window_days=2)).manifest["counts"]["examples"] == 1
