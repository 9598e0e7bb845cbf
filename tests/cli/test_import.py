"""`flywheel import` of real files."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.cli.conftest import Run, parsed, rows
from tests.cli.recorded import DAY_ONE, DAY_TWO, point, write_lines


def test_an_import_of_future_days_says_so(run: Run, tmp_path: Path) -> None:
    """After a fast clock or a mistyped year Dagster skips these days, and nothing else says why."""
    today = datetime.now(UTC).date()
    ahead = today + timedelta(days=40)
    lines = [point("a", "one", ahead, qwen_max=0.1), point("b", "two", DAY_ONE, qwen_max=0.1)]
    (tmp_path / "outcomes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = run("import", "outcomes.jsonl")
    assert result.exit_code == 0, result.output
    assert result.stderr == f"1 day after today ({today}), which Dagster does not make yet: from {ahead} on\n"


def test_importing_a_folder_says_what_to_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "outcomes").mkdir()
    result = run("import", "outcomes")
    assert result.exit_code == 1
    assert result.stderr == "error[no_data]: outcomes is a folder\n  name its files: outcomes/*\n"


def test_an_import_puts_points_into_their_days_once(run: Run, tmp_path: Path) -> None:
    outcomes = tmp_path / "outcomes.jsonl.gz"
    lines = [
        point("a", "one", DAY_ONE, qwen_max=0.1),
        point("b", "two", DAY_TWO, qwen_max=0.2),
        point("a", "one", DAY_ONE, qwen_max=0.1),
    ]
    outcomes.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    result = run("import", str(outcomes))
    assert result.exit_code == 0, result.output
    assert rows(result.stdout)[1] == ["1", "3", "2", "1", "0", "2"]
    assert "days 2026-01-05 to 2026-01-06" in result.stdout
    files = {path.name: path.read_bytes() for path in (tmp_path / "data" / "raw").iterdir()}
    assert sorted(name[:22] for name in files) == ["training_data_20260105", "training_data_20260106"]
    run("import", str(outcomes))
    assert {path.name: path.read_bytes() for path in (tmp_path / "data" / "raw").iterdir()} == files


def test_an_import_can_be_moved_to_end_on_a_day(run: Run, tmp_path: Path) -> None:
    outcomes = write_lines(
        tmp_path / "outcomes.jsonl",
        point("a", "one", DAY_ONE, qwen_max=0.1),
        point("b", "two", DAY_TWO, qwen_max=0.2),
    )
    result = parsed(run("import", str(outcomes), "--last-day", "2026-03-10", "--json"))
    assert result["days"] == {"2026-03-09": 1, "2026-03-10": 1}
    assert result["shifted_days"] == 63


def test_an_import_of_a_file_that_is_not_there_is_no_data(run: Run) -> None:
    result = run("import", "nowhere.jsonl", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "no_data"
