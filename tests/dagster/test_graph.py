"""The whole graph on a real lake: tables, a dataset, and what Dagster shows about them."""

import os
from datetime import date, timedelta
from pathlib import Path

import dagster as dg

from flywheel_core.config import Config, Operations
from flywheel_core.lake.atomic import sha256_of
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.meanings import MEANINGS
from flywheel_core.lake.tables import DAILY_TABLES, read_table
from flywheel_dagster.assets import TRAINING_DATASET
from flywheel_dagster.definitions import build_defs
from flywheel_dagster.partitions import utc_now
from tests.dagster.graphs import failed_checks, metadata_of, run_days
from tests.dagster.points import write_day

DAY = date(2026, 1, 5)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def test_a_day_becomes_tables_and_a_dataset(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """Every asset is materialized and checked, and every check passes."""
    write_day(layout, DAY)
    ran = run_days(config, instance, DAY)
    assert ran.success
    made = {event.asset_key for event in ran.get_asset_materialization_events()}
    assert made == {dg.AssetKey(name) for name in (*DAILY_TABLES, TRAINING_DATASET)}
    assert {event.check_name for event in ran.get_asset_check_evaluations()} == {
        "points_reconciled", "rejected_share", "day_has_points", "models_mapped", "label_drift",
        "enough_examples", "groups_within_share", "split_disjoint", "files_verify",
    }  # fmt: skip
    assert failed_checks(ran) == {}


def test_metadata_has_figures_and_charts(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """Shares are numbers, which the UI plots over days; the chart is an embedded image; the hash is that of the file."""
    write_day(layout, DAY)
    ran = run_days(config, instance, DAY)
    responses = metadata_of(ran, "responses")
    assert (responses["dagster/row_count"], responses["data_points"]) == (200, 40)
    assert responses["sha256"] == sha256_of(layout.table("responses", DAY))
    assert responses["file"] == str(layout.table("responses", DAY))
    distribution = metadata_of(ran, "label_distribution")
    shares = {name: value for name, value in distribution.items() if name.startswith("share_")}
    assert shares == {f"share_{label}": 0.2 for label in ("general", "math", "code", "medicine", "writing")}
    assert distribution["chart"].startswith(f"![Labels, {DAY}. By label. examples: 8 throughout.](")
    assert "](data:image/svg+xml;base64," in distribution["chart"]
    assert "| label |" in distribution["table"]
    assert distribution["labels"].count("█" * 24) == 5, "all labels are as frequent as the most frequent"
    assert len(distribution["labels"]) < 1000, "the UI shows it without a click"
    dataset = metadata_of(ran, TRAINING_DATASET)
    assert dataset["labelled"] == 40
    assert dataset["preview"].count("Question about") == 5
    assert Path(dataset["folder"], "dataset.json").is_file()
    assert dataset["days_missing"] == "2025-12-30 .. 2026-01-04"


def test_every_column_says_what_it_means(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """For every table and the dataset, in the metadata from which the UI lists columns."""
    write_day(layout, DAY)
    ran = run_days(config, instance, DAY)
    for asset in (*DAILY_TABLES, TRAINING_DATASET):
        shown = metadata_of(ran, asset)["dagster/column_schema"].columns
        assert {column.name: column.description for column in shown} == MEANINGS[asset]
        assert max(len(column.type) for column in shown) <= 20, "a longer type leaves its meaning no room"


def test_leftovers_of_a_killed_run_are_removed_with_the_next_dataset(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """A table left half-written two days ago is removed and counted."""
    write_day(layout, DAY)
    left = layout.tables / "responses" / f".{DAY}.parquet.{'0123456789abcdef' * 2}.tmp"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    then = (utc_now() - timedelta(days=2)).timestamp()
    os.utime(left, (then, then))
    assert metadata_of(run_days(config, instance, DAY), TRAINING_DATASET)["leftovers_removed"] == 1
    assert not left.exists()


def test_a_preview_of_no_rows_keeps_questions_out_of_dagster(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """No event contains a question."""
    write_day(layout, DAY)
    none = config.model_copy(update={"operations": Operations(preview_rows=0)})
    ran = run_days(none, instance, DAY)
    assert ran.success
    assert "Question about" not in str(instance.all_logs(ran.run_id))
    shown = run_days(config, instance, DAY)
    assert "Question about" in str(instance.all_logs(shown.run_id)), "the search finds what is there"


def test_a_backfill_through_a_range_gives_what_single_days_give(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """One run of three days and three runs of one day each give the same files."""
    days = [DAY + timedelta(days=ahead) for ahead in range(3)]
    for day in days:
        write_day(layout, day)
    assert run_days(config, instance, days[0], days[-1]).success
    once = {path: sha256_of(path) for path in sorted(layout.root.rglob("*.parquet"))}
    assert len(once) == 3 * len(DAILY_TABLES) + 3
    assert "training_dataset" in (layout.root / "views.sql").read_text("utf-8")
    for day in days:
        assert run_days(config, instance, day).success
    assert {path: sha256_of(path) for path in sorted(layout.root.rglob("*.parquet"))} == once


def test_an_empty_day_gives_empty_tables_and_a_warning(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """A day on which nothing arrived is worth a look, but it is no failure."""
    ran = run_days(config, instance, DAY)
    assert ran.success
    assert failed_checks(ran)["day_has_points"] == "WARN"
    for name in ("responses", "rejects", "training_examples", "model_leaderboard"):
        assert read_table(layout, name, [DAY]).height == 0
    assert "share_math" not in metadata_of(ran, "label_distribution"), "it has no shares, not shares of 0"
    assert metadata_of(ran, "rejects")["reasons"] == "none", "a heading without rows is no table"
    assert metadata_of(ran, "responses")["raw_files"] == "none"


def test_a_window_without_any_table_makes_no_dataset_and_warns(
    config: Config, instance: dg.DagsterInstance
) -> None:
    ran = (
        build_defs(config)
        .resolve_job_def("dataset")
        .execute_in_process(QUIET, instance, raise_on_error=False, partition_key=DAY.isoformat())
    )
    assert ran.success
    assert ran.get_asset_materialization_events() == []
    assert failed_checks(ran) == {"enough_examples": "WARN"}


def test_a_day_that_cannot_be_read_stops_only_itself(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """Of three days, the middle one has a folder in place of its raw file: the others get tables and datasets."""
    days = [DAY + timedelta(days=ahead) for ahead in range(3)]
    write_day(layout, days[0])
    layout.raw_file(days[1]).mkdir(parents=True)
    write_day(layout, days[2])
    ran = run_days(config, instance, days[0], days[2])
    assert not ran.success
    (failure,) = [event.step_failure_data for event in ran.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert "1 of 3 days failed" in (failure.user_failure_data.description or "")
    assert str(days[1]) in (failure.user_failure_data.description or "")
    expected = {days[0].isoformat(), days[2].isoformat()}
    for asset in (*DAILY_TABLES, TRAINING_DATASET):
        assert set(instance.get_materialized_partitions(dg.AssetKey(asset))) == expected, asset


def test_the_open_day_is_marked(config: Config, layout: Layout, instance: dg.DagsterInstance) -> None:
    """Today can be materialized, and its metadata says that the day is not over."""
    today = utc_now().date()
    write_day(layout, today)
    ran = run_days(config, instance, today)
    assert ran.success
    assert "not over" in metadata_of(ran, "responses")["open_day"]
    assert "open_day" not in metadata_of(run_days(config, instance, DAY), "responses")


def test_a_day_with_one_score_for_everything_warns(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    write_day(layout, DAY)
    raw = layout.raw_file(DAY)
    raw.write_text(raw.read_text(encoding="utf-8").replace(": 0.3", ": 0.9"), encoding="utf-8")
    ran = run_days(config, instance, DAY)
    assert failed_checks(ran)["label_drift"] == "WARN"
