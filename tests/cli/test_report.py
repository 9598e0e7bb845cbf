"""`flywheel report` on two labelled days."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run, parsed


def test_a_report_on_the_terminal_has_all_its_parts(run: Run, labelled: Path) -> None:
    text = run("report").stdout
    assert text.startswith("2026-01-05 to 2026-01-06, 2 days\n")
    for title in ("Labels", "Labelling rules", "Models", "Quality", "Scores", "Rejects"):
        assert f"\n{title}\n" in text
    assert max(map(len, text.splitlines())) <= 80
    cells = [line.split() for line in text.splitlines()]
    assert ["math", "2", "0.400", "0.800"] in cells
    assert ["point_not_json", "1"] in cells


def test_the_figures_on_the_terminal_are_those_of_the_json(run: Run, labelled: Path) -> None:
    cells = [line.split() for line in run("report").stdout.splitlines()]
    found = parsed(run("report", "--json"))
    for name, key in {
        "lines": "lines",
        "data points": "points",
        "duplicates": "duplicates",
        "rejected lines": "rejected",
        "with a label": "labelled",
        "ties": "ties",
        "responses": "responses",
        "failed responses": "failed",
        "responses with a score": "scored",
        "answers of unknown cost": "unpriced",
    }.items():
        assert [*name.split(), str(found[key])] in cells
    for name, keys in {
        "mean best score": ["mean_best_score"],
        "least and largest best score": ["min_best_score", "max_best_score"],
    }.items():
        assert [*name.split(), *" and ".join(f"{found[key]:.3f}" for key in keys).split()] in cells
    for at, count in enumerate(found["score_histogram"]):
        assert [f"{at / 10:.1f}", "to", f"{(at + 1) / 10:.1f}", str(count)] in cells


def test_without_days_a_report_covers_the_last_ones(
    run: Run, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel_cli.report.REPORT_DAYS", 1)
    assert parsed(run("report", "--json"))["days"] == ["2026-01-06"]


def test_a_report_covers_the_days_asked_for(run: Run, labelled: Path) -> None:
    assert parsed(run("report", "2026-01-06", "--json"))["points"] == 2
    assert parsed(run("report", "all", "--json"))["points"] == 6


def test_a_page_is_written_as_a_whole(run: Run, labelled: Path, tmp_path: Path) -> None:
    result = run("report", "--html", "report.html")
    assert result.stdout == "wrote report.html\n"
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_a_page_that_cannot_be_written_says_where(run: Run, labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("report", "--html", "file/report.html")
    assert result.exit_code == 1
    assert "file" in result.stderr
    assert result.stderr.startswith("error[storage_failed]: ")


def test_a_report_of_unlabelled_days_says_what_to_do(run: Run, tmp_path: Path) -> None:
    result = run("report")
    assert result.exit_code == 1
    assert result.stderr == (
        f"error[no_data]: none of these days was labelled in {tmp_path / 'data' / 'tables'}\n"
        "  run flywheel ingest and flywheel label first; --data-dir names another data folder\n"
    )
