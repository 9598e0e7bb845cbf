"""`flywheel sql` on two labelled days."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from flywheel_cli.main import main
from tests.cli.conftest import Run, parsed
from tests.cli.recorded import DAY_ONE, point, write_lines


def test_sql_sees_every_table(run: Run, labelled: Path) -> None:
    question = (
        "select label, count(*) as n from training_examples where label is not null group by 1 order by 1"
    )
    assert parsed(run("sql", question, "--json")) == [
        {"label": "code", "n": 1},
        {"label": "general", "n": 2},
        {"label": "math", "n": 2},
    ]
    assert [line.split() for line in run("sql", question).stdout.splitlines()][2:5] == [
        ["code", "1"],
        ["general", "2"],
        ["math", "2"],
    ]


def test_sql_has_utc_days_whatever_the_machines_time_zone_is(
    run: Run, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At UTC+14 it is the next day from 10:00 UTC on."""
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    query = "select count(*) as n from responses where to_timestamp(timestamp)::date = day"
    assert parsed(run("sql", query, "--json")) == [{"n": 12}]


def test_sql_tells_columns_of_one_name_apart(run: Run, labelled: Path) -> None:
    result = run("sql", "--json", "select 1 as a, 2 as a, 3 as a_2, 4 as a")
    assert json.loads(result.stdout) == [{"a": 1, "a_3": 2, "a_2": 3, "a_4": 4}]


def test_sql_names_a_damaged_dataset_only_to_who_asks_for_it(run: Run, labelled: Path) -> None:
    damaged = labelled / "datasets" / "20250101-0123456789ab" / "examples.parquet"
    damaged.parent.mkdir()
    damaged.write_bytes(b"no table")
    assert parsed(run("sql", "select count(*) as n from responses", "--json")) == [{"n": 12}]
    assert parsed(run("sql", "select count(*) > 0 as some from training_dataset", "--json")) == [
        {"some": True}
    ]
    result = run("sql", "select count(*) from dataset_examples")
    assert result.exit_code == 1
    assert result.stderr.startswith("error[storage_failed]: a table or dataset cannot be read: ")
    assert "Invalid Input Error" not in result.stderr
    assert str(damaged) in result.stderr


def test_sql_reads_a_query_from_standard_input(labelled: Path) -> None:
    result = CliRunner().invoke(main, ["sql", "-", "--json"], input="select 1 + 1 as two")
    assert json.loads(result.stdout) == [{"two": 2}]


def test_the_documented_query_of_what_a_single_model_would_have_cost_counts_questions_that_tell(
    run: Run, tmp_path: Path
) -> None:
    """Those with cost and score of both answers: a streamed answer of unknown cost is on neither side."""
    served = [
        {**point(name, name, DAY_ONE, qwen_math_7b=0.75, qwen_max=0.5), "served_model": "qwen-math-7b"}
        for name in ("q1", "q2", "q3")
    ]
    served[0]["responses"]["qwen-math-7b"]["cost"] = 0.125
    served[2]["responses"]["qwen-math-7b"]["cost"] = None
    elsewhere = point("q4", "q4", DAY_ONE, qwen_max=1.0)
    write_lines(tmp_path / "data" / "raw" / f"training_data_{DAY_ONE:%Y%m%d}.jsonl", *served, elsewhere)
    assert run("ingest", "all").exit_code == 0
    document = Path(__file__).parents[2] / "docs" / "operations.md"
    query = document.read_text("utf-8").partition("```sql\n-- paid.sql\n")[2].partition("```")[0]
    assert parsed(run("sql", "--json", query)) == [
        {
            "day": "2026-01-05",
            "questions": 2,
            "paid": 0.625,
            "paid_alone": 1.0,
            "score": 0.75,
            "score_alone": 0.5,
        }
    ]


def test_sql_shows_at_most_as_many_rows_as_asked(run: Run, labelled: Path) -> None:
    result = run("sql", "select * from range(5)", "--limit", "2")
    assert [line.strip() for line in result.stdout.splitlines() if line.strip().isdigit()] == ["0", "1"]
    assert result.stderr == "the first 2 rows; --limit shows more, --json all\n"
    assert run("sql", "select * from range(2)", "--limit", "2").stderr == "", "there are no more"
    result = run("sql", "select 1", "--limit", str(2**64))
    assert result.exit_code == 2
    assert "--limit" in result.stderr


def test_a_wrong_query_is_an_error_and_not_a_traceback(run: Run, labelled: Path) -> None:
    result = run("sql", "selec 1")
    assert result.exit_code == 2
    assert result.stderr.startswith("error[query_failed]: the query failed: Parser Error")


@pytest.mark.parametrize("nothing", ["", " ;\n", "-- select 1"])
def test_a_query_of_nothing_is_an_error_and_not_a_traceback(run: Run, labelled: Path, nothing: str) -> None:
    result = run("sql", "--", nothing)
    assert result.exit_code == 2
    assert result.stderr.startswith("error[query_failed]: the query holds no statement")


def test_rows_too_wide_for_a_table_are_printed_one_below_the_other(run: Run, labelled: Path) -> None:
    text = run("sql", "select * from training_examples order by data_point_id limit 2").stdout
    cells = [line.split() for line in text.splitlines()]
    assert [row for row in cells if row[:1] == ["Row"]] == [["Row", "1"], ["Row", "2"]]
    assert cells.count(["day", "2026-01-05"]) == 2
    assert max(map(len, text.splitlines())) <= 80
    assert run("sql", "select * from training_examples where false").stdout.startswith(
        "no rows; columns: day, "
    )


def test_a_long_text_is_cut_in_a_table_and_whole_as_json(run: Run, labelled: Path) -> None:
    assert run("sql", "select repeat('x', 300) as long").stdout.count("x") == 300
    shown = run("sql", "select repeat('x', 301) as long").stdout
    assert (shown.count("x"), shown.count("…")) == (299, 1)
    assert parsed(run("sql", "select repeat('x', 301) as long", "--json")) == [{"long": "x" * 301}]


@pytest.mark.parametrize(
    "query",
    [
        "copy (select 1) to '{place}'",
        "explain analyze copy (select 1) to '{place}'",
        "explain analyze\u00a0COPY\u3000(select 1) to '{place}'",
        "prepare p as copy (select 1) to '{place}'; execute p",
        "copy (pivot (select 1 as a, 2 as b) on a using sum(b)) to '{place}'",
        "export database '{place}'",
        "attach '{place}' as other; create table other.stolen as select 1",
        "pragma \"import_database\"('{made}')",
    ],
)
@pytest.mark.parametrize("inside", [True, False])
def test_sql_writes_nothing(run: Run, labelled: Path, tmp_path: Path, query: str, inside: bool) -> None:
    folder = labelled if inside else tmp_path
    place, made = folder / "stolen", labelled / "made"
    made.mkdir()
    (made / "schema.sql").write_text(f"copy (select 1) to '{place}';")
    (made / "load.sql").write_text("")
    result = run("sql", query.format(place=place, made=made), "--json")
    assert json.loads(result.stdout)["error"]["code"] == "query_failed"
    assert not place.exists()


def test_sql_accepts_words_of_write_statements_in_strings_and_names(run: Run, labelled: Path) -> None:
    result = run("sql", "--json", """select 'copy to' as "copy", 'é' as "é" -- export""")
    assert json.loads(result.stdout) == [{"copy": "copy to", "é": "é"}]
