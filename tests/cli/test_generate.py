"""`flywheel generate` on real files."""

import json
from pathlib import Path

from tests.cli.conftest import Run, parsed, rows
from tests.cli.recorded import DAY_ONE, point, write_lines


def generate(run: Run, tmp_path: Path, *more: str) -> tuple[str, list[dict[str, str]]]:
    """Run `flywheel generate` on the first recorded day; return what it printed and the lines it wrote."""
    raw, output = tmp_path / "data" / "raw" / "training_data_20260105.jsonl", tmp_path / "new.jsonl"
    result = run("generate", "--input", str(raw), "--output", str(output), *more)
    assert result.exit_code == 0, result.output
    return result.stdout, [json.loads(line) for line in output.read_text("utf-8").splitlines()]


def test_generate_writes_text_and_label_and_prints_what_is_in_them(
    run: Run, data: Path, tmp_path: Path
) -> None:
    printed, lines = generate(run, tmp_path)
    assert lines == [
        {"text": "求解 x^2 = 4", "label": "math"},
        {"text": "integrate sin(x)", "label": "math"},
        {"text": "reverse a list in Rust", "label": "code"},
    ]
    table = rows(printed)
    assert ["math", "2", "0.667", "0.800"] in table
    assert ["code", "1", "0.333", "0.800"] in table
    assert ["0.800", "0.700", "0.900"] in table
    assert ["below_min_score", "1"] in table
    assert "6 lines, 4 data points, 0 duplicates, 2 rejected" in printed.replace("\n", " ")
    assert "3 training examples of score 0.5 and above" in printed


def test_generate_lists_few_of_the_models_that_a_source_invents(run: Run, tmp_path: Path) -> None:
    raw = tmp_path / "data" / "raw" / "training_data_20260105.jsonl"
    names = [f"invented-{number}" for number in range(50)]
    write_lines(
        raw, *(point(name, name, DAY_ONE, qwen_max=0.6, **{name: 0.9}) for name in [*names, "invented-7"])
    )
    result = run("generate", "--input", str(raw), "--output", "out.jsonl")
    assert result.stdout.count("invented-") == 20
    assert "the 20 with the most data points of 50; --json shows all" in result.stdout


def test_generate_obeys_its_minimum_score(run: Run, data: Path, tmp_path: Path) -> None:
    _, lines = generate(run, tmp_path, "--min-score", "0.75")
    assert [line["text"] for line in lines] == ["求解 x^2 = 4", "reverse a list in Rust"]


def test_generate_takes_its_minimum_score_from_the_configuration(
    run: Run, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "flywheel.yaml").write_text("labelling: {min_score: 0.85}\n")
    printed, lines = generate(run, tmp_path)
    assert [line["text"] for line in lines] == ["求解 x^2 = 4"]
    assert "score 0.85 and above" in printed


def test_generate_refuses_a_minimum_score_that_no_score_can_reach(run: Run, data: Path) -> None:
    result = run("generate", "--input", "x", "--output", "y", "--min-score", "60")
    assert result.exit_code == 2
    assert "60" in result.stderr


def test_generate_of_a_file_that_is_not_there_leaves_the_output_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "new.jsonl").write_text("kept")
    result = run("generate", "--input", "nowhere.jsonl", "--output", "new.jsonl")
    assert result.exit_code == 1
    assert result.stderr.startswith("error[no_data]: there is no file nowhere.jsonl")
    assert (tmp_path / "new.jsonl").read_text() == "kept"


def test_generate_of_an_empty_file_is_an_empty_training_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")
    result = run("generate", "--input", "empty.jsonl", "--output", "new.jsonl")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "new.jsonl").read_bytes() == b""
    assert "0 training examples" in result.stdout


def test_generate_as_json(run: Run, data: Path) -> None:
    raw = str(data / "raw" / "training_data_20260105.jsonl")
    analysis = parsed(run("generate", "--input", raw, "--output", "new.jsonl", "--json"))
    assert analysis["label_counts"] == {"math": 2, "code": 1}
    assert analysis["score_max"] == 0.9
