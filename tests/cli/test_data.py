"""`flywheel ingest|label|dataset` on real files."""

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from tests.cli.conftest import Run, parsed, rows
from tests.cli.recorded import DAY_ONE, DAY_TWO, point, write_lines

BOTH = f"{DAY_ONE}..{DAY_TWO}"


def test_ingest_counts_every_line_of_every_day(run: Run, data: Path) -> None:
    result = run("ingest", "all")
    assert result.exit_code == 0, result.output
    table = rows(result.stdout)
    assert table[0] == ["day", "read", "lines", "accepted", "duplicates", "rejected", "blank"]
    assert (table[1][0], table[1][3:]) == ("2026-01-05", ["6", "4", "0", "2", "0"])
    assert (table[2][0], table[2][3:]) == ("2026-01-06", ["3", "2", "1", "0", "0"])
    assert "rejected: point_not_json 1, score_invalid 1" in result.stdout
    assert (data / "tables" / "responses" / "2026-01-05.parquet").is_file()


def test_a_day_that_cannot_be_read_stops_only_itself(run: Run, data: Path) -> None:
    (data / "raw" / "training_data_20260104.jsonl").mkdir()
    result = run("ingest", "all")
    assert result.exit_code == 1
    assert [row[0] for row in rows(result.stdout)[1:3]] == ["2026-01-05", "2026-01-06"]
    assert "error[storage_failed]: 1 of 3 days cannot be made; the others are made\n" in result.stderr
    assert "training_data_20260104.jsonl: it is not a file\n" in result.stderr
    assert "move it away" in result.stderr
    assert (data / "tables" / "responses" / "2026-01-06.parquet").is_file()
    alone = run("ingest", "2026-01-04")
    assert alone.exit_code == 1
    assert "days cannot be made" not in alone.stderr
    as_json = run("ingest", "all", "--json")
    assert as_json.exit_code == 1
    assert "1 of 3 days cannot be made" in json.loads(as_json.stdout)["error"]["message"]


def test_ingest_says_which_models_have_no_place_in_the_configuration(run: Run, tmp_path: Path) -> None:
    raw = tmp_path / "data" / "raw" / "training_data_20260105.jsonl"
    write_lines(raw, point("x", "who are you", DAY_ONE, qwen_max=0.1, llama=0.9))
    assert "models without a category, which win no label: llama;" in run("ingest", "2026-01-05").stdout
    (tmp_path / "flywheel.yaml").write_text(
        "data_collection: {training: {candidate_models: [qwen-max]}}\n"
        "routing: {default_model: qwen-max}\nmodels: {qwen-max: {category: null}}\n"
    )
    assert "which win no label: llama, qwen-max;" in run("ingest", "2026-01-05").stdout, "known, and yet"


def test_names_from_outside_do_not_control_the_terminal(run: Run, tmp_path: Path) -> None:
    """This holds in sentences too: ingest has a model's name in one, dataset a tenant's."""
    raw = tmp_path / "data" / "raw" / "training_data_20260105.jsonl"
    (tmp_path / "flywheel.yaml").write_text("dataset: {group_floor: 1, max_group_share: 0.5}\n")
    evil = "\x1b[2J\x1b]0;gone\x07" + "x" * 70_000
    points = [
        {
            **point(f"{number}", f"{number}?" * number, DAY_ONE, qwen_max=0.9, qwen_math_7b=0.1),
            "tenant": evil if number % 4 else "calm",
        }
        for number in range(60)
    ]
    write_lines(raw, *points, point("x", "who are you", DAY_ONE, **{evil: 0.9}))
    printed = [run(command, "2026-01-05").stdout for command in ("ingest", "label", "dataset")]
    assert "which win no label: \\x1b[2J" in printed[0]
    assert "tenant \\x1b[2J" in printed[2]
    assert [char for text in printed for char in text if not char.isprintable() and char != "\n"] == []
    assert max(map(len, printed)) < 2_000


def test_a_day_without_raw_files_is_ingested_empty_and_said_to_be(run: Run, data: Path) -> None:
    result = run("ingest", "2026-02-01", "2026-01-05")
    assert result.exit_code == 0
    assert result.stderr == "days without a raw file: 2026-02-01\n"
    assert (data / "tables" / "responses" / "2026-02-01.parquet").is_file()


def test_a_future_day_is_refused_unless_it_has_a_raw_file(run: Run, data: Path) -> None:
    """A mistyped year must leave no empty tables; the file of a collector with a fast clock is read."""
    today = datetime.now(UTC).date()
    ahead, further = today + timedelta(days=3), today + timedelta(days=400)
    write_lines(
        data / "raw" / f"training_data_{ahead:%Y%m%d}.jsonl",
        point("x", "q", today, qwen_max=0.1),
    )
    refused = run("ingest", f"2026-01-05..{further}")
    assert refused.exit_code == 2
    assert refused.stderr == (
        f"error[usage_invalid]: {today + timedelta(days=1)} has not begun yet and has no raw file\n"
        f"  today is {today} in UTC: name days up to that one\n"
    )
    assert not (data / "tables").exists()
    assert run("ingest", str(ahead)).exit_code == 0


def test_the_open_day_is_marked(run: Run, tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    write_lines(
        tmp_path / "data" / "raw" / f"training_data_{today:%Y%m%d}.jsonl",
        point("x", "q", today, qwen_max=0.1),
    )
    assert f"{today} (open)" in run("ingest", "today").stdout


def test_ingest_as_json_is_one_object_a_day(run: Run, data: Path) -> None:
    days = parsed(run("ingest", BOTH, "--json"))
    assert [day["day"] for day in days] == ["2026-01-05", "2026-01-06"]
    assert days[0]["rejected_by_code"] == {"point_not_json": 1, "score_invalid": 1}
    assert days[0]["responses"]["rows"] == 8
    assert len(days[0]["responses"]["sha256"]) == 64


def test_label_prints_the_labels_of_each_day(run: Run, data: Path) -> None:
    run("ingest", BOTH)
    table = rows(run("label", "all").stdout)
    assert table[0] == ["day", "examples", "code", "general", "math", "no", "label"]
    assert table[1:] == [["2026-01-05", "4", "1", "0", "2", "1"], ["2026-01-06", "2", "0", "2", "0", "0"]]
    assert (data / "tables" / "quality_report" / "2026-01-06.parquet").is_file()


def test_more_labels_than_fit_side_by_side_stay_readable(run: Run, tmp_path: Path) -> None:
    """In a table of 80 columns, names and figures of 14 labels would be broken into single characters."""
    labels = [f"subject-{number:02}" for number in range(14)]
    sections = "".join(f"  m{at:02}: {{category: {label}}}\n" for at, label in enumerate(labels))
    names = ", ".join(f"m{at:02}" for at in range(14))
    (tmp_path / "flywheel.yaml").write_text(
        f"models:\n{sections}routing: {{default_model: m00}}\n"
        f"data_collection: {{training: {{candidate_models: [{names}]}}}}\n"
    )
    points = [
        point(f"p{at}", f"question {at}", DAY_ONE, **{f"m{at % 14:02}": 0.9, f"m{(at + 1) % 14:02}": 0.1})
        for at in range(1_400)
    ]
    write_lines(tmp_path / "data" / "raw" / f"training_data_{DAY_ONE:%Y%m%d}.jsonl", *points)
    run("ingest", "all")
    table = rows(run("label", "all").stdout)
    assert ["examples", "1,400"] in table
    assert [line for line in table if line[0] in labels] == [[label, "100"] for label in labels]


def test_label_before_ingest_says_what_to_do(run: Run, data: Path) -> None:
    result = run("label", "2026-01-05")
    assert result.exit_code == 1
    assert result.stderr.startswith("error[no_data]: there is no table responses for 2026-01-05\n")
    assert "flywheel ingest 2026-01-05" in result.stderr


def test_import_and_ingest_name_days_that_dagster_never_makes(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Last year's outcomes go into raw days that no schedule reads, so the user is told when they arrive."""
    monkeypatch.setenv("FLYWHEEL__STORAGE__FIRST_DAY", "2026-01-06")
    said = "1 day before storage.first_day (2026-01-06), which Dagster never makes: set storage.first_day to 2026-01-05"
    assert said in run("ingest", BOTH).stderr
    assert said in run("import", str(data / "raw" / "training_data_20260105.jsonl")).stderr
    monkeypatch.delenv("FLYWHEEL__STORAGE__FIRST_DAY")
    assert "first_day" not in run("ingest", BOTH).stderr


def test_label_as_json_names_the_files_that_were_written(run: Run, data: Path) -> None:
    run("ingest", "2026-01-05")
    built = parsed(run("label", "2026-01-05", "--json"))
    assert [table["name"] for table in built] == [
        "training_examples",
        "label_distribution",
        "model_leaderboard",
        "quality_report",
    ]
    assert built[0]["rows"] == 4


def test_a_dataset_is_built_once_and_named(run: Run, data: Path) -> None:
    run("ingest", BOTH)
    run("label", BOTH)
    first, second = (parsed(run("dataset", "2026-01-06", "--json"))[0] for _ in range(2))
    assert first == second
    assert first["last_day"] == "2026-01-06"
    lines = [
        json.loads(line)
        for part in ("train", "validation", "test")
        for line in (data / "datasets" / first["version"] / f"{part}.jsonl").read_text("utf-8").splitlines()
    ]
    assert sorted(line["label"] for line in lines) == ["code", "general", "general", "math", "math"]
    table = rows(run("dataset", "2026-01-06").stdout)
    assert table[0] == ["version", "train", "validation", "test", "unlabelled", "repeats"]
    assert table[1][0] == first["version"]
    assert sum(map(int, table[1][1:4])) == 5
    assert table[1][4:] == ["1", "0"]


def test_all_datasets_are_those_of_days_up_to_today(run: Run, data: Path) -> None:
    """One of a future day, as a wrong clock makes it, would be the newest, and routers would be trained on it."""
    ahead = datetime.now(UTC).date() + timedelta(days=400)
    write_lines(data / "raw" / f"training_data_{ahead:%Y%m%d}.jsonl", point("x", "q", ahead, qwen_max=0.1))
    run("ingest", "all")
    run("label", "all")
    assert [made["last_day"] for made in parsed(run("dataset", "all", "--json"))] == [
        "2026-01-05",
        "2026-01-06",
    ]
    assert parsed(run("dataset", str(ahead), "--json"))[0]["last_day"] == str(ahead)


def test_a_dataset_leaves_the_views_for_other_clients(run: Run, data: Path) -> None:
    run("ingest", BOTH)
    run("label", BOTH)
    (made,) = parsed(run("dataset", "2026-01-06", "--json"))
    with closing(duckdb.connect()) as connection:
        connection.execute((data / "views.sql").read_text("utf-8"))
        versions = connection.execute("select distinct version from training_dataset").fetchall()
    assert versions == [(made["version"],)]


def test_a_dataset_of_nothing_is_no_data(run: Run, data: Path) -> None:
    result = run("dataset", "2026-01-06")
    assert result.exit_code == 1
    assert result.stderr.startswith("error[no_data]: ")
