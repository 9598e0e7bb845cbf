"""`generate` turns one raw file straight into training lines."""

import gzip
import json
from pathlib import Path

import pytest

from flywheel_core.config import Config
from flywheel_core.errors import NoDataError, StorageError, UsageError
from flywheel_core.lake import generate as module
from flywheel_core.lake.generate import generate
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import read_table
from tests.core.lake.lakes import CONFIG, build_day, line, point, write_raw


def written(path: Path) -> list[dict[str, str]]:
    """Return the lines of a training file."""
    return [json.loads(text) for text in path.read_bytes().split(b"\n") if text]


def with_memory(megabytes: int) -> Config:
    """Return the tests' configuration with this much memory for DuckDB."""
    storage = CONFIG.storage.model_copy(update={"memory_limit_mb": megabytes})
    return CONFIG.model_copy(update={"storage": storage})


def test_labelled_points_become_lines_and_figures(tmp_path: Path) -> None:
    raw, output = tmp_path / "raw.jsonl", tmp_path / "out" / "training.jsonl"
    raw.write_bytes(
        b"".join(
            [
                line(point("a", {"big": 0.25, "algebra": 0.75}, question="求解方程 x^2 = 4")),
                line(point("b", {"big": 1.0, "coder": 0.5}, question='say "hi"\n')),
                b"\n",
                line(point("c", {"big": 0.875, "coder": 0.5})),
                line(point("low", {"big": 0.55, "coder": 0.25})),
                line(point("odd", {"big": 0.5, "stranger": 0.9})),
                line(point("alone", {"big": 1.0, "coder": None})),
                line(point("silent", {})),
                line(point("a", {"big": 1.0, "algebra": 0.75})),
                b"null\n",
                line(point("torn", {"big": 0.5}))[:-30],
            ]
        )
    )
    found = generate(raw, output, 0.6, CONFIG)
    assert written(output) == [
        {"text": "求解方程 x^2 = 4", "label": "math"},
        {"text": 'say "hi"\n', "label": "general"},
        {"text": "What is c?", "label": "general"},
    ]
    assert "求解方程" in output.read_text(encoding="utf-8")
    assert (found.lines, found.points, found.duplicates, found.rejected) == (10, 7, 1, 2)
    assert found.rejected_by_code == {"point_not_json": 1, "point_not_object": 1}
    assert (found.examples, found.unlabelled_by_rule) == (
        3,
        {"below_min_score": 1, "too_few_scores": 2, "unknown_model": 1},
    )
    assert found.unknown_models == {"stranger": 1}
    assert list(found.label_counts.items()) == [("general", 2), ("math", 1)]
    assert (found.score_mean, found.score_min, found.score_max) == (0.875, 0.75, 1.0)
    assert found.mean_score_by_label == {"general": 0.9375, "math": 0.75}
    assert (found.input, found.output, found.min_score) == (raw, output, 0.6)


def test_a_file_without_any_label_is_an_empty_file_and_no_failure(tmp_path: Path) -> None:
    raw = tmp_path / "raw.jsonl"
    raw.write_bytes(b"")
    found = generate(raw, tmp_path / "out.jsonl", 0.5, CONFIG)
    assert (found.lines, found.examples, found.score_mean, found.score_min) == (0, 0, None, None)
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_compressed_input_gives_the_same(tmp_path: Path) -> None:
    content = b"".join(line(point(f"p{number}", {"big": 0.9, "coder": 0.5})) for number in range(30))
    (tmp_path / "raw.jsonl").write_bytes(content)
    (tmp_path / "raw.jsonl.gz").write_bytes(gzip.compress(content))
    generate(tmp_path / "raw.jsonl", tmp_path / "a", 0.5, CONFIG)
    generate(tmp_path / "raw.jsonl.gz", tmp_path / "b", 0.5, CONFIG)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != b""


def test_the_batch_size_does_not_change_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tmp_path / "raw.jsonl"
    raw.write_bytes(
        b"".join(line(point(f"p{number}", {"big": number / 50, "coder": 0.5})) for number in range(50))
    )
    whole = generate(raw, tmp_path / "out.jsonl", 0.5, CONFIG)
    content = (tmp_path / "out.jsonl").read_bytes()
    monkeypatch.setattr(module, "_POINTS_AT_ONCE", 1)
    monkeypatch.setattr("flywheel_core.lake.raw_lines.CHUNK_BYTES", 1_000)
    assert generate(raw, tmp_path / "out.jsonl", 0.5, CONFIG) == whole
    assert (tmp_path / "out.jsonl").read_bytes() == content


def test_many_models_need_no_more_memory_than_many_points(tmp_path: Path) -> None:
    """A limit that they do not fit in is an error that names it."""
    raw = tmp_path / "raw.jsonl"
    scores = {f"m{number}": 0.5 for number in range(250)}
    raw.write_bytes(b"".join(line({**point(str(at), scores), "responses": {}}) for at in range(6_000)))
    assert generate(raw, tmp_path / "out.jsonl", 0.5, with_memory(220)).points == 6_000
    with pytest.raises(StorageError, match=r"storage\.memory_limit_mb"):
        generate(raw, tmp_path / "out.jsonl", 0.5, with_memory(64))


def test_labels_are_those_of_the_tables(layout: Layout, tmp_path: Path) -> None:
    steps = [number / 20 for number in range(21)]
    path = write_raw(
        layout,
        [
            point(f"{a}-{b}-{c}", {"big": a, "algebra": b, "coder": c})
            for a in steps[::4]
            for b in steps[::3]
            for c in steps[::5]
        ],
    )
    build_day(layout)
    generate(path, tmp_path / "out.jsonl", CONFIG.labelling.min_score, CONFIG)
    examples = read_table(layout, "training_examples").to_dicts()
    assert written(tmp_path / "out.jsonl") == [
        {"text": row["text"], "label": row["label"]} for row in examples if row["label"] is not None
    ]


def test_a_missing_input_and_an_impossible_minimum_score_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match=r"gone\.jsonl"):
        generate(tmp_path / "gone.jsonl", tmp_path / "out", 0.5, CONFIG)
    with pytest.raises(UsageError, match="between 0 and 1"):
        generate(tmp_path / "gone.jsonl", tmp_path / "out", 1.5, CONFIG)


def test_the_input_is_not_overwritten(tmp_path: Path) -> None:
    source = tmp_path / "raw.jsonl"
    source.write_bytes(b"kept\n")
    other = tmp_path / "link.jsonl"
    other.symlink_to(source)
    for output in (source, other):
        with pytest.raises(UsageError, match="the output is the input"):
            generate(source, output, 0.5, CONFIG)
    assert source.read_bytes() == b"kept\n"
