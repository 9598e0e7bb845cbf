"""What a replay puts into the raw file of a day: the recorded points, as if only the models of the pool had been asked."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

from flywheel_core.config import Config
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import read_table
from flywheel_core.learn.replay_days import hand_out, stage
from tests.core.lake.lakes import DAY, LATER, point, write_raw


def test_what_a_point_says_about_other_models_is_left_out(tmp_path: Path) -> None:
    source, target = Layout(tmp_path / "source"), Layout(tmp_path / "target")
    notes: dict[str, Any] = {
        "asked": {"big": 1.0, "coder": 0.25, "algebra": 0.5},
        "score_reasons": {"coder": "timeout", "algebra": "timeout"},
        "score_spreads": {"big": 0.125, "algebra": 0.25},
    }
    others: dict[str, Any] = {name: {"algebra": found["algebra"]} for name, found in notes.items()}
    scores = {"big": 0.5, "coder": None, "algebra": None}
    write_raw(
        source, [point("all", scores, **notes), point("others", {"big": 0.5, "algebra": 1.0}, **others)]
    )
    hand_out(source, target, DAY, ["big", "coder"])
    ingest_day(target, DAY, Config(), today=LATER)
    rows = read_table(target, "responses").select(
        "data_point_id", "model", "asked", "score", "score_reason", "score_spread"
    )
    assert rows.rows() == [
        ("all", "big", 1.0, 0.5, None, 0.125),
        ("all", "coder", 0.25, None, "timeout", None),
        ("others", "big", None, 0.5, None, None),
    ]
    assert b"algebra" not in target.raw_file(DAY).read_bytes()


def test_rejected_lines_stay_as_they_are(tmp_path: Path) -> None:
    source, target = Layout(tmp_path / "source"), Layout(tmp_path / "target")
    bad = [b'{"question": 1}\n', b"\xff\n"]
    write_raw(source, [bad[0], point("a", {"big": 0.5}), bad[1]])
    hand_out(source, target, DAY, ["big"])
    first, _, last = target.raw_file(DAY).read_bytes().splitlines(keepends=True)
    assert [first, last] == bad


def test_a_day_is_not_held_in_memory(tmp_path: Path) -> None:
    source, target = Layout(tmp_path / "source"), Layout(tmp_path / "target")
    answers = {"big": {"model": "big", "answer": "a" * 1_000_000}}
    write_raw(source, [point(str(number), {"big": 0.5}, responses=answers) for number in range(30)])
    tracemalloc.start()
    try:
        hand_out(source, target, DAY, ["big"])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert target.raw_file(DAY).stat().st_size > 30_000_000
    assert most < 15_000_000


def test_models_that_have_only_scores_are_played_too(tmp_path: Path) -> None:
    """Published outcomes may come without answers; the tables hold them as well."""
    source, target = Layout(tmp_path / "source"), Layout(tmp_path / "target")
    recorded = tmp_path / "outcomes.jsonl"
    bare = point("bare", {"big": 0.5, "coder": 0.25, "algebra": 1.0}) | {"responses": {}}
    recorded.write_text(json.dumps(bare) + "\n")
    assert stage(source, [recorded], ["digest"], []) == ["algebra", "big", "coder"]
    hand_out(source, target, DAY, ["big", "coder"])
    ingest_day(target, DAY, Config(), today=LATER)
    rows = read_table(target, "responses").select("data_point_id", "model", "score")
    assert rows.rows() == [("bare", "big", 0.5), ("bare", "coder", 0.25)]
