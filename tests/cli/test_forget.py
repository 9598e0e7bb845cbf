"""`flywheel forget` first shows what would go, removes it only with --yes, and leaves the day that is not over."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flywheel_cli.forget import SETTLED, is_over
from flywheel_core.lake.layout import Layout
from tests.cli.conftest import Run, parsed
from tests.cli.recorded import DAY_ONE, point, record, write_lines

RAW = f"raw/training_data_{DAY_ONE:%Y%m%d}.jsonl"


@pytest.fixture(autouse=True)
def recorded(tmp_path: Path, run: Run) -> Path:
    """A data folder with two days of January 2026 in tables, and a point of today."""
    data = tmp_path / "data"
    record(data)
    assert run("ingest", "all").exit_code == 0
    today = datetime.now(UTC).date()
    write_lines(Layout(data).raw_file(today), point("t1", "integrate sin(x) today", today, qwen_max=0.4))
    return data


def test_nothing_goes_without_yes(run: Run, recorded: Path) -> None:
    before = (recorded / RAW).read_bytes()
    shown = run("forget", "integrate sin")
    assert shown.exit_code == 0
    assert f"{RAW} 1" in " ".join(shown.stdout.split())
    assert "1 lines would go; --yes removes them" in shown.stdout
    assert f"flywheel dagster backfill {DAY_ONE}" in shown.stdout
    assert "tables/responses 1" in " ".join(shown.stdout.split())
    assert (recorded / RAW).read_bytes() == before


def test_with_yes_it_goes_from_the_days_that_are_over_and_after_ingest_from_the_tables(
    run: Run, recorded: Path
) -> None:
    done = parsed(run("forget", "INTEGRATE sin", "--yes", "--json"))
    assert [(one["path"], one["lines"], one["day"]) for one in done["over"]] == [
        (str((recorded / RAW).absolute().relative_to(recorded.parent)), 1, "2026-01-05")
    ]
    assert done["removed"] is True
    assert [one["lines"] for one in done["later"]] == [1]
    assert len(done["elsewhere"]) == 1
    assert b"integrate" not in (recorded / RAW).read_bytes()
    assert run("ingest", "2026-01-05").exit_code == 0
    left = run("forget", "integrate sin", "--yes")
    assert left.stdout.count("\n") == 1
    assert "1 lines: left until 5 minutes after the end of" in left.stdout
    assert run("status").exit_code == 0


def test_packed_days_go_too_and_then_nothing_holds_it(run: Run, recorded: Path) -> None:
    packed = recorded / f"{RAW}.gz"
    packed.write_bytes(gzip.compress((recorded / RAW).read_bytes()))
    (recorded / RAW).unlink()
    assert run("forget", "reverse a list", "--yes").exit_code == 0
    assert run("ingest", "2026-01-05").exit_code == 0
    assert run("forget", "reverse a list").stdout == f"nothing in {recorded} holds it\n"
    assert len(gzip.decompress(packed.read_bytes()).splitlines()) == 5


def test_a_blank_text_is_refused(run: Run, recorded: Path) -> None:
    before = (recorded / RAW).read_bytes()
    refused = run("forget", " ", "--yes")
    assert refused.exit_code == 2
    assert "blank" in refused.stderr
    assert (recorded / RAW).read_bytes() == before


def test_a_day_is_over_when_what_came_before_midnight_has_been_written() -> None:
    midnight = datetime(2026, 1, 6, tzinfo=UTC)
    assert not is_over(DAY_ONE, midnight + SETTLED - timedelta(seconds=1))
    assert is_over(DAY_ONE, midnight + SETTLED)
    assert not is_over(DAY_ONE, midnight + timedelta(seconds=1))
