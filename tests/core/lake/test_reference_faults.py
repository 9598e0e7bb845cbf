"""Faults that other scripts of this kind have had, with one test each that Flywheel does not have them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flywheel_core.errors import FlywheelError
from flywheel_core.lake import generate as generate_module
from flywheel_core.lake.dataset import build_dataset, verify_dataset
from flywheel_core.lake.dataset_files import SPLITS
from flywheel_core.lake.generate import generate
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import read_table
from tests.core.lake.lakes import CONFIG, DAY, build_day, line, point, write_raw


def labels(path: Path) -> list[str]:
    """Return the labels of a training file."""
    return [json.loads(text)["label"] for text in path.read_text(encoding="utf-8").splitlines()]


def test_fault_19_the_least_score_that_is_asked_for_is_kept(tmp_path: Path) -> None:
    raw = tmp_path / "raw.jsonl"
    raw.write_bytes(
        line(point("a", {"big": 0.55, "coder": 0.25})) + line(point("b", {"big": 0.75, "coder": 0.25}))
    )
    counts = [
        generate(raw, tmp_path / "out.jsonl", least, CONFIG).examples for least in (0.0, 0.5, 0.6, 0.75, 0.8)
    ]
    assert counts == [2, 2, 1, 1, 0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        line(point("a", {})),
        line(point("a", {"big": None, "coder": None})),
        line(point("a", {"big": 0.9, "coder": 0.5})) + b'{"question": "torn',
        b"null\n",
    ],
)
def test_fault_20_no_scores_no_examples_torn_and_blank_lines_end_no_run(
    layout: Layout, tmp_path: Path, content: bytes
) -> None:
    path = write_raw(layout, [content])
    found = generate(path, tmp_path / "out.jsonl", 0.5, CONFIG)
    build_day(layout)
    build_dataset(layout, DAY, CONFIG)
    assert found.lines == found.points + found.rejected


def test_fault_21_ties_do_not_go_to_the_first_key_and_a_lone_survivor_is_no_label(layout: Layout) -> None:
    failed = {"model": "coder", "answer": None, "error": "timeout"}
    alone = point("alone", {"big": 1.0, "coder": -1.0})
    alone["responses"]["coder"] = failed
    one = point("one", {"big": 0.9, "algebra": 0.9})
    other = point("other", {"algebra": 0.9, "big": 0.9})
    third = point("third", {"coder": 0.9, "algebra": 0.9})
    write_raw(layout, [one, other, third, alone])
    build_day(layout)
    rows = {row["data_point_id"]: row["label"] for row in read_table(layout, "training_examples").to_dicts()}
    assert rows == {"one": "general", "other": "general", "third": "math", "alone": None}


def test_fault_22_an_unknown_model_is_reported_and_never_general(layout: Layout, tmp_path: Path) -> None:
    path = write_raw(layout, [point("a", {"big": 0.5, "stranger": 0.9})])
    found = generate(path, tmp_path / "out.jsonl", 0.5, CONFIG)
    assert (found.examples, found.unknown_models) == (0, {"stranger": 1})
    build_day(layout)
    (row,) = read_table(layout, "training_examples").to_dicts()
    assert (row["rule"], row["label"], row["best_model"]) == ("unknown_model", None, "stranger")
    assert build_dataset(layout, DAY, CONFIG).manifest["unknown_models"] == {"stranger": 1}


def test_fault_23_encoding_is_not_the_locales_and_provenance_is_kept(layout: Layout, tmp_path: Path) -> None:
    scores = {"big": 0.9, "coder": 0.5}
    path = write_raw(layout, [point("a", scores, question="求解方程 → ∑"), point("b", scores, question="∑")])
    script = (
        "import sys; from pathlib import Path; from flywheel_core.config import Config;"
        "from flywheel_core.lake.generate import generate;"
        "generate(Path(sys.argv[1]), Path(sys.argv[2]), 0.5, Config.model_validate_json(sys.argv[3]))"
    )
    output = tmp_path / "out.jsonl"
    subprocess.run(
        [sys.executable, "-c", script, str(path), str(output), CONFIG.model_dump_json()],
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        check=True,
    )
    written = [json.loads(text) for text in output.read_bytes().splitlines()]
    assert written == [
        {"text": "求解方程 → ∑", "label": "general"},
        {"text": "∑", "label": "general"},
    ]
    build_day(layout)
    for row in read_table(layout, "training_examples").to_dicts():
        assert row["raw_file"] == path.name
        raw = path.read_bytes()[row["byte_offset"] :].split(b"\n")[0]
        assert json.loads(raw)["id"] == row["data_point_id"]


def test_fault_23_an_output_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, output = tmp_path / "raw.jsonl", tmp_path / "out.jsonl"
    raw.write_bytes(line(point("a", {"big": 0.9, "coder": 0.5})) * 3)
    output.write_text("what was there before\n", encoding="utf-8")

    def fails(*_: object) -> None:
        raise FlywheelError("stopped half-way")

    monkeypatch.setattr(generate_module, "create_labels", fails)
    with pytest.raises(FlywheelError, match="half-way"):
        generate(raw, output, 0.5, CONFIG)
    assert output.read_text(encoding="utf-8") == "what was there before\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "raw.jsonl"]


def test_fault_24_points_count_once_sides_are_fixed_and_versions_stay(layout: Layout) -> None:
    twice = point("a", {"big": 0.9, "coder": 0.5}, question="Solve x + 12 = 40")
    sibling = point("b", {"big": 0.9, "coder": 0.5}, question="solve  x + 7 = 9")
    write_raw(layout, [twice, twice, sibling])
    build_day(layout)
    first = build_dataset(layout, DAY, CONFIG)
    sides = [split for split in SPLITS if (first.path / f"{split}.jsonl").stat().st_size]
    assert first.manifest["counts"]["points"] == 2
    assert len(sides) == 1, "siblings of one template are on one side"
    write_raw(layout, [twice])
    build_day(layout)
    second = build_dataset(layout, DAY, CONFIG)
    assert second.version != first.version
    verify_dataset(layout, first.version)
    verify_dataset(layout, second.version)
