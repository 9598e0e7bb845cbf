"""The whole graph on a real lake and an instance that forgets."""

import os
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from markdown_it import MarkdownIt

from flywheel_core.config import Config, Dataset, Operations, Storage
from flywheel_core.lake.layout import Layout, sha256_of
from flywheel_core.lake.meanings import MEANINGS
from flywheel_core.lake.tables import DAILY_TABLES, read_table
from flywheel_dagster import metadata
from flywheel_dagster.assets import TRAINING_DATASET
from flywheel_dagster.checks import newest_is_recent
from flywheel_dagster.definitions import build_defs
from flywheel_dagster.partitions import range_tags, utc_now
from tests.dagster.points import MODELS, point, write_day, write_raw

DAY = date(2026, 1, 5)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A data folder of its own and a window of a week."""
    return Config(
        storage=Storage(data_dir=tmp_path / "data", first_day="2026-01-01"),
        dataset=Dataset(window_days=7, min_examples=20),
    )


@pytest.fixture
def layout(config: Config) -> Layout:
    """The data folder."""
    return Layout(config.storage.data_dir)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance that forgets."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def _run(
    config: Config, instance: dg.DagsterInstance, first: date, last: date | None = None
) -> dg.ExecuteInProcessResult:
    job = build_defs(config).resolve_job_def("training_set")
    where: dict[str, Any] = (
        {"partition_key": first.isoformat()} if last is None else {"tags": range_tags(first, last)}
    )
    return job.execute_in_process(QUIET, instance, raise_on_error=False, **where)


def _metadata(ran: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (event,) = [one for one in ran.get_asset_materialization_events() if one.asset_key == dg.AssetKey(asset)]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def _failed_checks(ran: dg.ExecuteInProcessResult) -> dict[str, str]:
    return {
        event.check_name: event.severity.value
        for event in ran.get_asset_check_evaluations()
        if not event.passed
    }


def test_a_day_becomes_tables_and_a_dataset(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """Everything is made, everything is checked, every check passes."""
    write_day(layout, DAY)
    ran = _run(config, instance, DAY)
    assert ran.success
    made = {event.asset_key for event in ran.get_asset_materialization_events()}
    assert made == {dg.AssetKey(name) for name in (*DAILY_TABLES, TRAINING_DATASET)}
    assert {event.check_name for event in ran.get_asset_check_evaluations()} == {
        "points_reconciled", "rejected_share", "day_has_points", "models_mapped", "label_drift",
        "enough_examples", "groups_within_share", "split_disjoint", "files_verify",
    }  # fmt: skip
    assert _failed_checks(ran) == {}


def test_figures_and_pictures_are_made_for_looking(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """Shares are numbers that plot over days; the chart is an image in itself; the hash is that of the file."""
    write_day(layout, DAY)
    ran = _run(config, instance, DAY)
    responses = _metadata(ran, "responses")
    assert (responses["dagster/row_count"], responses["data_points"]) == (200, 40)
    assert responses["sha256"] == sha256_of(layout.table("responses", DAY))
    assert responses["file"] == str(layout.table("responses", DAY))
    distribution = _metadata(ran, "label_distribution")
    shares = {name: value for name, value in distribution.items() if name.startswith("share_")}
    assert shares == {f"share_{label}": 0.2 for label in ("general", "math", "code", "medicine", "writing")}
    assert distribution["chart"].startswith("![")
    assert "](data:image/svg+xml;base64," in distribution["chart"]
    assert "| label |" in distribution["table"]
    assert distribution["labels"].count("█" * 24) == 5, "all labels are as frequent as the most frequent"
    assert len(distribution["labels"]) < 1000, "the UI shows it without a click"
    dataset = _metadata(ran, TRAINING_DATASET)
    assert dataset["labelled"] == 40
    assert dataset["preview"].count("Question about") == 5
    assert Path(dataset["folder"], "dataset.json").is_file()
    assert dataset["days_missing"] == "2025-12-30 .. 2026-01-04"


def test_every_column_says_what_it_means(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """Of every table and of the dataset, where the UI lists columns."""
    write_day(layout, DAY)
    ran = _run(config, instance, DAY)
    for asset in (*DAILY_TABLES, TRAINING_DATASET):
        shown = _metadata(ran, asset)["dagster/column_schema"].columns
        assert {column.name: column.description for column in shown} == MEANINGS[asset]
        assert max(len(column.type) for column in shown) <= 20, "a longer type leaves its meaning no room"


def test_what_a_killed_run_left_goes_with_the_next_dataset(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """A table half-written two days ago is gone afterwards, and counted."""
    write_day(layout, DAY)
    left = layout.tables / "responses" / f".{DAY}.parquet.{'0123456789abcdef' * 2}.tmp"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    then = (utc_now() - timedelta(days=2)).timestamp()
    os.utime(left, (then, then))
    assert _metadata(_run(config, instance, DAY), TRAINING_DATASET)["leftovers_removed"] == 1
    assert not left.exists()


def test_a_preview_of_no_rows_keeps_questions_out_of_dagster(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """No event has a question in it."""
    write_day(layout, DAY)
    none = config.model_copy(update={"operations": Operations(preview_rows=0)})
    ran = _run(none, instance, DAY)
    assert ran.success
    assert "Question about" not in str(instance.all_logs(ran.run_id))
    shown = _run(config, instance, DAY)
    assert "Question about" in str(instance.all_logs(shown.run_id)), "the search finds what is there"


def test_a_backfill_through_a_range_gives_what_single_days_give(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """One run of three days and three runs of a day: the same files, the same figures."""
    days = [DAY + timedelta(days=ahead) for ahead in range(3)]
    for day in days:
        write_day(layout, day)
    assert _run(config, instance, days[0], days[-1]).success
    once = {path: sha256_of(path) for path in sorted(layout.root.rglob("*.parquet"))}
    assert len(once) == 3 * len(DAILY_TABLES) + 3
    assert "training_dataset" in (layout.root / "views.sql").read_text("utf-8")
    for day in days:
        assert _run(config, instance, day).success
    assert {path: sha256_of(path) for path in sorted(layout.root.rglob("*.parquet"))} == once


def test_an_empty_day_gives_empty_tables_and_a_warning(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """Nothing arrived: that is worth a look and no failure."""
    ran = _run(config, instance, DAY)
    assert ran.success
    assert _failed_checks(ran)["day_has_points"] == "WARN"
    for name in ("responses", "rejects", "training_examples", "model_leaderboard"):
        assert read_table(layout, name, [DAY]).height == 0
    assert _metadata(ran, "label_distribution")["share_math"] == 0.0
    assert _metadata(ran, "rejects")["reasons"] == "none", "a heading without rows is no table"


def test_a_day_that_cannot_be_read_stops_itself_only(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """Three days, the middle one a folder where a file should be: the others get tables and datasets."""
    days = [DAY + timedelta(days=ahead) for ahead in range(3)]
    write_day(layout, days[0])
    layout.raw_file(days[1]).mkdir(parents=True)
    write_day(layout, days[2])
    ran = _run(config, instance, days[0], days[2])
    assert not ran.success
    (failure,) = [event.step_failure_data for event in ran.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert "1 of 3 days failed" in (failure.user_failure_data.description or "")
    assert str(days[1]) in (failure.user_failure_data.description or "")
    expected = {days[0].isoformat(), days[2].isoformat()}
    for asset in (*DAILY_TABLES, TRAINING_DATASET):
        assert set(instance.get_materialized_partitions(dg.AssetKey(asset))) == expected, asset


def test_too_many_rejects_block_the_day(config: Config, layout: Layout, instance: dg.DagsterInstance) -> None:
    """One line in ten is broken: the day's examples would not stand for the day, so none are made."""
    lines: list[object] = [point(DAY, number) for number in range(180)]
    write_raw(layout, DAY, [*lines, *(f"broken {number}" for number in range(20))])
    ran = _run(config, instance, DAY)
    assert not ran.success
    assert _failed_checks(ran) == {"rejected_share": "ERROR"}
    (failure,) = [event.step_failure_data for event in ran.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert "20 of 200 lines rejected (10.00%); at most 5.00% is allowed; see the day's rejects" in (
        failure.user_failure_data.description or ""
    )
    assert not layout.table("training_examples", DAY).exists()
    assert read_table(layout, "rejects", [DAY]).height == 20, "what was rejected can be looked at"


def test_one_torn_line_among_a_few_is_a_warning(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """A large share of few lines is no evidence: the day goes on."""
    write_raw(layout, DAY, [*(point(DAY, number) for number in range(10)), "torn"])
    ran = _run(config, instance, DAY)
    assert ran.success
    assert _failed_checks(ran)["rejected_share"] == "WARN"


def test_a_model_nobody_knows_is_reported(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """It wins no label silently: the check names it."""
    stranger = point(DAY, 0)
    stranger["responses"] |= {"mystery": {"model": "mystery", "answer": "42"}}  # type: ignore[operator] # it is a dict
    write_raw(layout, DAY, [stranger, *(point(DAY, number) for number in range(1, 40))])
    ran = _run(config, instance, DAY)
    assert ran.success
    assert _failed_checks(ran) == {"models_mapped": "WARN"}
    (told,) = [one for one in ran.get_asset_check_evaluations() if one.check_name == "models_mapped"]
    assert "mystery" in str(told.description)


def test_names_from_outside_show_no_picture_and_lead_nowhere(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """The UI shows descriptions as Markdown: a picture in a model's name would be fetched by whoever looks at it."""
    marks = "![seen](http://evil.example/?you) [here](http://evil.example) <img src='http://evil.example'> \\![a](b)"
    strange: list[Any] = [point(DAY, number) for number in range(30)]
    for number, one in enumerate(strange):
        one["responses"] |= {f"{number} {marks}": {"model": "m", "answer": "42"}}
    write_raw(layout, DAY, strange)
    ran = _run(config, instance, DAY)
    (told,) = [one for one in ran.get_asset_check_evaluations() if one.check_name == "models_mapped"]
    shown = str(told.description)
    found = {inner.type for token in MarkdownIt().parse(shown) for inner in (token, *(token.children or ()))}
    assert not found & {"image", "link_open", "html_inline", "html_block"}
    assert "seen" in shown
    assert shown.endswith("and 20 more")


def test_a_flood_of_invented_models_does_not_fill_dagsters_storage(
    config: Config, layout: Layout, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "MAX_ROWS", 20)
    strange: list[Any] = [point(DAY, number) for number in range(30)]
    for number, one in enumerate(strange):
        one["responses"] |= {f"invented-{number}": {"model": "m", "answer": "42"}}
        one["scores"] |= {f"invented-{number}": 0.5}
    write_raw(layout, DAY, strange)
    shown = _metadata(_run(config, instance, DAY), "model_leaderboard")["table"]
    assert shown.count("\n| ") == 21
    assert shown.endswith(f"and {30 + len(MODELS) - 20} more")


def test_labels_that_drift_are_reported(config: Config, layout: Layout, instance: dg.DagsterInstance) -> None:
    """A week of all kinds, then a day of nothing but mathematics."""
    for ahead in range(3):
        write_day(layout, DAY + timedelta(days=ahead))
    odd = DAY + timedelta(days=3)
    write_day(layout, odd, best="qwen-math-7b")
    ran = _run(config, instance, DAY, odd)
    assert ran.success
    (drift,) = [
        one for one in ran.get_asset_check_evaluations() if one.check_name == "label_drift" and not one.passed
    ]
    assert drift.partition == odd.isoformat()
    assert drift.metadata["distance"].value == pytest.approx(0.8)


def test_a_damaged_table_of_the_week_before_does_not_stop_the_day(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """The comparison leaves the damaged day out, says which it is, and the day's tables are made."""
    bad, good, day = (DAY + timedelta(days=ahead) for ahead in range(3))
    for one in (bad, good, day):
        write_day(layout, one)
    assert _run(config, instance, bad, good).success
    layout.table("label_distribution", bad).write_bytes(b"no Parquet")
    ran = _run(config, instance, day)
    assert ran.success
    (drift,) = [one for one in ran.get_asset_check_evaluations() if one.check_name == "label_drift"]
    assert not drift.passed
    assert f"the table of {bad} cannot be read" in str(drift.description)
    assert drift.metadata["distance"].value == 0.0


def test_too_few_examples_are_red_and_stop_nothing(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """A young installation has small datasets: the check says so every night, the run goes through."""
    write_day(layout, DAY, count=5)
    ran = _run(config, instance, DAY)
    assert ran.success
    assert _failed_checks(ran) == {"enough_examples": "ERROR"}


def test_a_source_that_floods_a_label_is_capped_and_shown(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """A warning with its name, and the figures on the dataset's page."""
    flood = [{**point(DAY, number, best=MODELS[1]), "source": "loud"} for number in range(1_000, 1_400)]
    write_raw(layout, DAY, [*(point(DAY, number) for number in range(40)), *flood])
    ran = _run(config, instance, DAY)
    assert ran.success
    assert _failed_checks(ran) == {"groups_within_share": "WARN"}
    dataset = _metadata(ran, TRAINING_DATASET)
    assert dataset["left_out_by_group_cap"] > 0
    assert re.search(r"\| source \| loud \| math \| +\d+ \| +200 \|", dataset["group_caps"])


def test_a_damaged_dataset_blocks_what_trains_on_it(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """A version is immutable: a file that changed under it is found, not used."""
    write_day(layout, DAY)
    assert _run(config, instance, DAY).success
    (train,) = layout.datasets.glob("*/train.jsonl")
    train.write_bytes(train.read_bytes()[:-10])
    ran = _run(config, instance, DAY)
    assert not ran.success
    assert _failed_checks(ran) == {"files_verify": "ERROR"}


def test_the_open_day_is_marked(config: Config, layout: Layout, instance: dg.DagsterInstance) -> None:
    """Today can be made and looked at, and says that it is not over."""
    today = utc_now().date()
    write_day(layout, today)
    ran = _run(config, instance, today)
    assert ran.success
    assert "not over" in _metadata(ran, "responses")["open_day"]
    assert "open_day" not in _metadata(_run(config, instance, DAY), "responses")


def test_the_age_of_the_newest_dataset(config: Config, layout: Layout, instance: dg.DagsterInstance) -> None:
    """Yesterday's dataset made now is recent; an old day's made now is not what the night should have made."""
    job = build_defs(config).resolve_job_def("dataset_freshness")

    def passed() -> bool:
        (found,) = job.execute_in_process(QUIET, instance).get_asset_check_evaluations()
        return found.passed

    assert not passed()
    write_day(layout, DAY)
    assert _run(config, instance, DAY).success
    assert not passed()
    yesterday = utc_now().date() - timedelta(days=1)
    write_day(layout, yesterday)
    assert _run(config, instance, yesterday).success
    assert passed()


def test_recent_means_26_hours() -> None:
    """To the minute."""
    now = datetime(2026, 1, 7, 3, 30, tzinfo=UTC)
    assert newest_is_recent(now - timedelta(hours=26), "2026-01-05", now)[0]
    assert not newest_is_recent(now - timedelta(hours=26, minutes=1), "2026-01-05", now)[0]
    assert newest_is_recent(None, None, now) == (False, "no training dataset was made yet")
