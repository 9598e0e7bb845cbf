"""Tables, JSON and progress, as people and programs see them."""

import json
import math
import os
import pty
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from flywheel_cli.output import (
    are_figures,
    fitted,
    print_error,
    print_json,
    print_rows,
    print_table,
    progress,
    shown,
    size,
)
from flywheel_core.errors import UsageError


def test_a_table_is_plain_aligned_and_80_columns_wide(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(
        ("day", "lines", "share", "why"),
        [(date(2026, 1, 5), 1234567, 0.25, "[bold]x[/bold]"), (date(2026, 1, 6), None, 1.0, "y" * 200)],
        title="Days",
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Days"
    assert lines[1].split() == ["day", "lines", "share", "why"]
    assert lines[3].split() == ["2026-01-05", "1,234,567", "0.250", "[bold]x[/bold]"]
    assert max(map(len, lines)) <= 80
    assert "".join(lines).count("y") == 200 + len("dayday") // 3 + 1


@pytest.mark.parametrize(
    ("cells", "right"),
    [
        (["0", "1.5", "3,100"], True),
        (["+0.106", "-0.010", "-"], True),
        (["69%", "100%"], True),
        (["1.6e-05"], True),
        (["57.8%", "3.9 points"], False),
        (["2026-01-05", "-"], False),
        (["20260105", "qwen-max"], False),
        (["-", None], False),
        ([], False),
    ],
)
def test_a_column_of_figures_is_aligned_to_the_right_also_where_they_are_texts(
    cells: list[str | None], right: bool
) -> None:
    """Weights of money from 0 to 3,100 can then be compared at a glance."""
    assert are_figures(cells) == right


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"),
        (0.0012345, "0.001"),
        (0.0004, "0.0004"),
        (-0.00001644, "-1.6e-05"),
        (1234.5678, "1,234.568"),
    ],
)
def test_a_small_figure_is_not_shown_as_zero(value: float, text: str) -> None:
    """One answer of a small model costs a few hundredths of a thousandth."""
    assert shown(value) == text


@pytest.mark.parametrize(("last", "fits"), [("ten", True), ("four", False)])
def test_rows_are_a_table_as_long_as_each_column_gets_six_characters(
    capsys: pytest.CaptureFixture[str], last: str, fits: bool
) -> None:
    """Ten columns in 80: nine gaps of 3, eight columns of 6, and 5 for the other two."""
    columns = [*(f"column-{number}" for number in range(8)), "no", last]
    print_rows(columns, [["a longer text"] * 8 + ["-", "-"]])
    assert ("Row 1" not in capsys.readouterr().out) == fits


def test_control_characters_in_data_never_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A question or a model's name may hold sequences that clear the screen or fill the clipboard."""
    print_table(("question",), [("a\x1b[2Jb\x1b]0;title\x07c\x9b2Jd\x7f\x00",), ("two\nlines",)])
    out = capsys.readouterr().out
    assert [char for char in out if not char.isprintable() and char != "\n"] == []
    assert "\\x1b[2Jb\\x1b]0;title\\x07c\\x9b2Jd\\x7f\\x00" in out
    assert [line.rstrip() for line in out.splitlines()][-3:] == ["two", "lines", ""]


@pytest.mark.parametrize("name", ["[/]", "[bold]x[/bold]", "a\x1b[2Jb\x9b2J"])
@pytest.mark.parametrize("rows", [[(1,)], []])
def test_names_of_columns_and_titles_are_shown_as_they_are(
    capsys: pytest.CaptureFixture[str], name: str, rows: list[tuple[int]]
) -> None:
    """With `pivot` the names of models become columns, and those come from strangers."""
    printed = name.replace("\x1b", "\\x1b").replace("\x9b", "\\x9b")
    print_table((name,), rows, title=name)
    print_rows((name,), rows)
    print_rows((name, *map(str, range(30))), [(*row, *range(30)) for row in rows])
    out = capsys.readouterr().out
    assert out.count(printed) == 4
    assert not any(character in out for character in "\x1b\x9b")


@pytest.mark.parametrize("as_json", [False, True])
def test_control_characters_in_an_error_never_reach_the_terminal(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    """DuckDB's errors quote the values of a query, which may be answers of a model."""
    evil = "could not convert 'a\x1b[2J\x9b2J\x07'"
    print_error(UsageError(evil, hint=evil), as_json=as_json)
    out, err = capsys.readouterr()
    assert [char for char in out + err if not char.isprintable() and char != "\n"] == []
    if as_json:
        assert json.loads(out)["error"]["message"] == evil
    else:
        assert err.count("'a\\x1b[2J\\x9b2J\\x07'") == 2


def test_json_takes_mappings_of_yes_and_no(capsys: pytest.CaptureFixture[str]) -> None:
    """As `select histogram(failed) from responses` gives them."""
    print_json({"failed": {True: 1, False: 7}})
    assert json.loads(capsys.readouterr().out) == {"failed": {"true": 1, "false": 7}}


def test_json_takes_days_paths_and_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"day": date(2026, 1, 5), "path": Path("a/b"), "score": math.nan, "text": "解"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"day": "2026-01-05", "path": "a/b", "score": None, "text": "解"}
    assert "解" in out


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (18_400, "18.4 kB"),
        (4 * 10**9, "4.0 GB"),
        (10**13, "10.0 TB"),
    ],
)
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert size(count) == text


def test_progress_is_plain_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel_cli.output.PLAIN_PROGRESS_SECONDS", 0.0)
    with progress("ingest 2026-01-05") as tell:
        tell(1, 4)
        tell(4, 4)
    captured = capsys.readouterr()
    assert captured.err == "ingest 2026-01-05: 25%\ningest 2026-01-05: 100%\n"
    assert captured.out == ""
    monkeypatch.setattr("flywheel_cli.output.PLAIN_PROGRESS_SECONDS", 1_000.0)
    with progress("ingest 2026-01-05") as tell:
        tell(1, 4)
    assert capsys.readouterr().err == "", "quick work prints no line"


def test_progress_is_a_bar_on_a_terminal() -> None:
    code = "from flywheel_cli.output import progress\nwith progress('ingest') as tell: tell(1, 2); tell(2, 2)"
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    subprocess.run([sys.executable, "-c", code], stderr=theirs, env=environment, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "ingest" in shown
    assert "━" in shown


def test_a_day_stays_on_one_line_where_columns_are_narrow(capsys: pytest.CaptureFixture[str]) -> None:
    categories = ["通用", "数学", "代码", "医疗", "写作", "法律", "金融", "教育", "翻译", "客服"]
    print_table(["day", "examples", *categories], [[date(2026, 1, 5), 1_384, *range(100, 110)]])
    out = capsys.readouterr().out
    assert "2026-01-05" in out
    assert all(f" {figure}" in out for figure in range(100, 110))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("short\n enough", "short enough"),
        ("a question of many words", "a question…"),
        ("推荐服务里用了全排列", "推荐服务里…"),
        ("推荐服务里用", "推荐服务里用"),
    ],
)
def test_a_text_is_cut_to_columns_and_not_to_characters(text: str, shown: str) -> None:
    """Twelve columns hold six Chinese characters, or five and the ellipsis."""
    assert fitted(text, 12) == shown
