"""`flywheel status|sql|report` on two labelled days."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from flywheel_cli.main import main
from flywheel_dagster.home import prepare_home
from tests.cli.conftest import Run, parsed
from tests.cli.recorded import DAY_TWO, record


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two labelled days and a dataset. Tests use copies of it."""
    data = tmp_path_factory.mktemp("built") / "data"
    record(data)
    for command, day in (("ingest", "all"), ("label", "all"), ("dataset", str(DAY_TWO))):
        result = CliRunner().invoke(main, [command, "--data-dir", str(data), day], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    return data


@pytest.fixture
def labelled(built: Path, run: Run, tmp_path: Path) -> Path:
    """A copy of the built data folder, in the folder where commands run."""
    return shutil.copytree(built, tmp_path / "data")


def test_status_counts_days_tables_and_datasets(run: Run, labelled: Path) -> None:
    text = run("status").stdout
    assert "Days, 2 of 2" in text
    assert "2026-01-05" in text
    cells = [line.split() for line in text.splitlines()]
    assert next(row for row in cells if row[:1] == ["responses"])[:3] == ["responses", "2", "12"]
    assert "datasets: 1, the last 20260106-" in text
    assert "Latest runs" not in text


def test_status_names_the_dataset_that_was_asked_for_last(
    run: Run, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in ("1", "2", "1"):
        monkeypatch.setenv("FLYWHEEL__DATASET__SEED", seed)
        (made,) = parsed(run("dataset", str(DAY_TWO), "--json"))
        assert f", the last {made['version']}\n" in run("status").stdout


def test_status_says_which_router_is_in_service(run: Run, labelled: Path) -> None:
    assert "routers: 0, in service -\n" in run("status").stdout
    routers = labelled / "routers"
    for version in ("20260106-a-router-b", "20260106-a-single-c"):
        (routers / version).mkdir(parents=True)
        (routers / version / "router.json").write_text("{}", "utf-8")
    (routers / "no-router").mkdir()
    pointer = {"sequence": 1, "version": "20260106-a-router-b", "digest": "0", "at": 1.0}
    (routers / "champion.json").write_text(json.dumps(pointer), "utf-8")
    assert "routers: 2, in service 20260106-a-router-b\n" in run("status").stdout
    assert parsed(run("status", "--json"))["in_service"] == "20260106-a-router-b"
    (routers / "champion.json").write_text("{torn", "utf-8")
    result = run("status")
    assert result.exit_code == 0
    assert "champion.json is damaged" in result.stdout


def test_status_lists_only_as_many_days_as_asked(run: Run, labelled: Path) -> None:
    text = run("status", "--last", "1").stdout
    assert "Days, 1 of 2" in text
    assert "2026-01-05 " not in text.partition("Tables")[0]


def test_status_names_future_raw_days(run: Run, labelled: Path) -> None:
    """A collector with a fast clock stored them: no run reads them yet, and nothing else says so."""
    assert "after today" not in run("status").stdout
    (labelled / "raw" / "training_data_20991231.jsonl").write_text("{}\n", "utf-8")
    assert "1 day after today (" in run("status").stdout
    assert "from 2099-12-31 on" in run("status").stdout


def test_status_names_raw_days_that_dagster_never_makes(
    run: Run, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No run covers days before the first partition, and nothing else names the setting to change."""
    assert "storage.first_day" not in run("status").stdout
    monkeypatch.setenv("FLYWHEEL__STORAGE__FIRST_DAY", "2026-01-06")
    assert "1 day before storage.first_day (2026-01-06)" in run("status").stdout
    monkeypatch.setenv("FLYWHEEL__STORAGE__FIRST_DAY", "2026-02-01")
    text = run("status").stdout
    assert "2 days before storage.first_day (2026-02-01)" in text
    assert "set storage.first_day to 2026-01-05" in text


def test_status_names_raw_files_that_cannot_be_read_and_names_that_nothing_reads(
    run: Run, labelled: Path
) -> None:
    text = run("status").stdout
    assert "that nothing reads" not in text
    (labelled / "raw" / "training_data_20260105.gone.jsonl").symlink_to("/nowhere")
    (labelled / "raw" / "training_data_2026-01-06.jsonl").touch()
    result = run("status")
    assert result.exit_code == 0
    assert (
        "training_data_20260105.gone.jsonl: No such file or directory; its day cannot be made"
        in result.stdout
    )
    assert "1 entry that nothing reads" in result.stdout
    assert ": training_data_2026-01-06.jsonl\n" in result.stdout
    assert "Days, 2 of 2" in result.stdout
    found = parsed(run("status", "--json"))["overview"]
    assert found["passed_over"] == ["training_data_2026-01-06.jsonl"]
    assert len(found["unreadable"]) == 1


def test_status_names_a_damaged_table_and_shows_the_rest(run: Run, labelled: Path) -> None:
    damaged = labelled / "tables" / "responses" / "2026-01-05.parquet"
    damaged.write_bytes(b"no table")
    result = run("status")
    assert result.exit_code == 0
    assert (
        "error[storage_failed]: cannot read the table data/tables/responses/2026-01-05.parquet: "
        in result.stdout
    )
    assert (
        "  build the day again: flywheel ingest 2026-01-05, then flywheel label 2026-01-05\n" in result.stdout
    )
    cells = [line.split() for line in result.stdout.splitlines()]
    (first,) = (row for row in cells if row[:1] == ["2026-01-05"])
    assert first[3] == "-"
    assert next(row for row in cells if row[:1] == ["responses"])[:2] == ["responses", "2"]
    assert "datasets: 1" in result.stdout
    (found,) = parsed(run("status", "--json"))["overview"]["damaged"]
    assert (found["code"], found["day"], found["table"]) == ("storage_failed", "2026-01-05", "responses")


def test_status_shows_the_latest_runs_of_dagster(run: Run, labelled: Path, tmp_path: Path) -> None:
    @dg.op
    def nothing() -> None:
        pass

    @dg.job
    def daily() -> None:
        nothing()

    home = prepare_home(tmp_path / ".dagster")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        done = daily.execute_in_process(instance=instance, tags={"dagster/partition": "2026-01-05"})
        first, last = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
        for end in ("2026-01-05", "2026-01-07"):
            daily.execute_in_process(instance=instance, tags={first: "2026-01-05", last: end})
    text = run("status").stdout
    assert "Latest runs" in text
    assert "success" in text
    assert "(assets)" not in text
    *ranges, found = parsed(run("status", "--json"))["runs"]
    assert [one["partition"] for one in ranges] == ["2026-01-05..2026-01-07", "2026-01-05"]
    assert (found["run_id"], found["job"], found["partition"]) == (done.run_id, "daily", "2026-01-05")
    assert found["seconds"] >= 0
    with dg.DagsterInstance.from_config(str(home)) as instance:
        began = instance.get_run_record_by_id(done.run_id)
    assert began is not None and began.start_time is not None
    started = datetime.fromtimestamp(began.start_time, UTC)
    assert datetime.fromisoformat(found["started"]) == started
    assert f"{started:%m-%d %H:%M}" in text


def test_status_shows_runs_started_from_an_asset_page_as_assets(run: Run, tmp_path: Path) -> None:
    @dg.op
    def nothing() -> None:
        pass

    job = dg.GraphDefinition("__ASSET_JOB", node_defs=[nothing]).to_job()
    with dg.DagsterInstance.from_config(str(prepare_home(tmp_path / ".dagster"))) as instance:
        job.execute_in_process(instance=instance)
    text = run("status").stdout
    assert "(assets)" in text
    assert "__ASSET_JOB" not in text


def test_status_of_runs_that_cannot_be_read_names_their_folder(run: Run, tmp_path: Path) -> None:
    home = prepare_home(tmp_path / ".dagster")
    (home / "history" / "runs.db").write_text("no database, but as long as the beginning of one" * 40)
    result = run("status")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"error[storage_failed]: Dagster cannot use its databases in {home}: file is not a database\n"
    )
    as_json = run("status", "--json")
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["error"]["code"] == "storage_failed"


def test_status_shows_the_data_even_if_runs_cannot_be_read(run: Run, labelled: Path, tmp_path: Path) -> None:
    """A full disk makes Dagster's databases unreadable, and that is when one must see what fills the disk."""
    home = prepare_home(tmp_path / ".dagster")
    (home / "history" / "runs.db").write_text("no database, but as long as the beginning of one" * 40)
    result = run("status")
    assert "Days, 2 of 2" in result.stdout
    assert "datasets: 1" in result.stdout
    assert result.exit_code == 1
    assert f"Dagster cannot use its databases in {home}" in result.stderr


def test_status_of_nothing_is_no_failure(run: Run, tmp_path: Path) -> None:
    """Usually the user is in the wrong folder."""
    result = run("status")
    assert result.exit_code == 0
    assert (
        f"data folder {tmp_path / 'data'}, which is not there yet; --data-dir names another\n"
        in result.stdout
    )
    assert "Days, 0 of 0" in result.stdout
    assert parsed(run("status", "--json"))["overview"]["days"] == []


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


def test_sql_shows_at_most_as_many_rows_as_asked(run: Run, labelled: Path) -> None:
    result = run("sql", "select * from range(5)", "--limit", "2")
    assert [line.strip() for line in result.stdout.splitlines() if line.strip().isdigit()] == ["0", "1"]
    assert result.stderr == "the first 2 rows; --limit shows more, --json all\n"
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


def test_a_report_on_the_terminal_has_all_its_parts(run: Run, labelled: Path) -> None:
    text = run("report").stdout
    assert text.startswith("2026-01-05 to 2026-01-06, 2 days\n")
    for title in ("Labels", "Labelling rules", "Models", "Quality", "Scores", "Rejects"):
        assert f"\n{title}\n" in text
    assert max(map(len, text.splitlines())) <= 80
    cells = [line.split() for line in text.splitlines()]
    assert ["math", "2", "0.400", "0.800"] in cells
    assert ["point_not_json", "1"] in cells


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
