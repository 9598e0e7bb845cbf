"""`flywheel status`: what is in the data folder, and what ran last."""

import json
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from flywheel_core.config import Config
from flywheel_dagster.definitions import build_defs
from flywheel_dagster.freshness import FRESHNESS_JOB
from flywheel_dagster.home import prepare_home
from tests.cli.conftest import Run, parsed
from tests.cli.recorded import DAY_TWO


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


def test_status_says_what_the_last_day_and_the_last_thirty_cost(
    run: Run, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 answers at 0.5 each on two days."""
    said = "spend on collected questions: "
    assert (
        f"{said}2.000 on 2026-01-06, 6.000 in the 30 days up to it (2 with tables)\n" in run("status").stdout
    )
    assert parsed(run("status", "--json"))["spend"] == {
        "last_day": "2026-01-06",
        "on_last_day": 2.0,
        "days": 2,
        "total": 6.0,
        "unpriced": 0,
    }
    reports = labelled / "tables" / "quality_report"
    (reports / "2026-01-06.parquet").rename(reports / "2026-02-03.parquet")
    monkeypatch.setattr("flywheel_core.lake.tables.check_table", lambda *_: None)
    assert "(2 with tables)" in run("status").stdout, "the thirtieth day before counts"
    (reports / "2026-02-03.parquet").rename(reports / "2026-02-04.parquet")
    assert "(1 with tables)" in run("status").stdout
    (reports / "2026-02-04.parquet").write_bytes(b"no table")
    result = run("status")
    assert result.exit_code == 0
    assert "spend: cannot read the table " in result.stdout


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


def test_the_checks_of_every_hour_do_not_push_the_nightly_run_off_the_latest_runs(
    run: Run, tmp_path: Path
) -> None:
    """There are 24 of them a day: by noon they would be all that is listed. One that failed is listed."""

    @dg.op
    def nothing() -> None:
        pass

    @dg.job
    def nightly() -> None:
        nothing()

    hourly = build_defs(Config()).resolve_job_def(FRESHNESS_JOB)
    with dg.DagsterInstance.from_config(str(prepare_home(tmp_path / ".dagster"))) as instance:
        nightly.execute_in_process(instance=instance)
        failed = instance.create_run_for_job(hourly)
        instance.report_run_failed(failed, "its process was killed")
        for _ in range(2):
            assert hourly.execute_in_process(instance=instance).success
    listed = [(one["job"], one["status"]) for one in parsed(run("status", "--last", "2", "--json"))["runs"]]
    assert listed == [(FRESHNESS_JOB, "failure"), ("nightly", "success")]


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
