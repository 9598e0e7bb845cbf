"""The checks of a day and of its dataset: what they report, and what they stop."""

import re
from datetime import date, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest

from flywheel_core.config import Config
from flywheel_core.lake.columns import split_of
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import build_table, read_table
from flywheel_dagster import metadata
from flywheel_dagster.assets import TRAINING_DATASET
from flywheel_dagster.checks import points_reconciled, rejected_share
from tests.dagster.graphs import failed_checks, metadata_of, run_days
from tests.dagster.points import MODELS, point, write_day, write_raw

DAY = date(2026, 1, 5)


def test_too_many_rejects_block_the_day(config: Config, layout: Layout, instance: dg.DagsterInstance) -> None:
    """One line in ten is broken: the remaining examples would not represent the day, so none are made."""
    lines: list[object] = [point(DAY, number) for number in range(180)]
    write_raw(layout, DAY, [*lines, *(f"broken {number}" for number in range(20))])
    ran = run_days(config, instance, DAY)
    assert not ran.success
    assert failed_checks(ran) == {"rejected_share": "ERROR"}
    (failure,) = [event.step_failure_data for event in ran.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert "20 of 200 lines rejected (10.00%); at most 5.00% is allowed; see the day's rejects" in (
        failure.user_failure_data.description or ""
    )
    assert not layout.table("training_examples", DAY).exists()
    assert read_table(layout, "rejects", [DAY]).height == 20, "what was rejected can be looked at"
    rejects = metadata_of(ran, "rejects")
    assert rejects["share_rejected"] == 0.1
    assert "| 20 |" in rejects["reasons"]


def test_figures_of_checks_are_written_as_on_the_other_pages() -> None:
    """Thousands are separated, and shares are rounded."""
    share = rejected_share(lines=3_320, rejected=20, limit=0.05)
    assert share.says.startswith("20 of 3,320 lines rejected (0.60%)")
    assert share.figures["share"] == 0.006024
    counted = points_reconciled(
        lines=3_320, accepted=3_300, duplicates=0, rejected=20, stored_points=3_300, stored_rejects=20
    )
    assert counted.says.startswith("3,320 lines: 3,300 accepted")


def test_one_torn_line_among_a_few_is_a_warning(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """A large rejected share of very few lines is no evidence of a fault, so the day goes on."""
    write_raw(layout, DAY, [*(point(DAY, number) for number in range(10)), "torn"])
    ran = run_days(config, instance, DAY)
    assert ran.success
    assert failed_checks(ran)["rejected_share"] == "WARN"


def test_an_unknown_model_is_reported(config: Config, layout: Layout, instance: dg.DagsterInstance) -> None:
    """A model without a category cannot win labels silently: the check names it."""
    stranger = point(DAY, 0)
    stranger["responses"] |= {"mystery": {"model": "mystery", "answer": "42"}}  # type: ignore[operator] # it is a dict
    write_raw(layout, DAY, [stranger, *(point(DAY, number) for number in range(1, 40))])
    ran = run_days(config, instance, DAY)
    assert ran.success
    assert failed_checks(ran) == {"models_mapped": "WARN"}
    (told,) = [one for one in ran.get_asset_check_evaluations() if one.check_name == "models_mapped"]
    assert "mystery" in str(told.description)


@pytest.mark.parametrize("strangers", [0, 1])
def test_a_point_without_any_response_is_no_unknown_model(
    config: Config, layout: Layout, instance: dg.DagsterInstance, strangers: int
) -> None:
    """Its row in `responses` has no model: that names nothing, and stops no day that has an unknown model too."""
    lines: list[Any] = [point(DAY, number) for number in range(40)]
    lines[0] |= {"responses": {}, "scores": {}}
    for one in lines[1 : 1 + strangers]:
        one["responses"] |= {"mystery": {"model": "mystery", "answer": "42"}}
    write_raw(layout, DAY, lines)
    ran = run_days(config, instance, DAY)
    assert ran.success
    (told,) = [one for one in ran.get_asset_check_evaluations() if one.check_name == "models_mapped"]
    assert told.metadata["models"].value == len(MODELS) + strangers
    assert told.metadata["unmapped"].value == strangers


def test_a_data_folder_whose_name_is_a_pattern_works(config: Config, instance: dg.DagsterInstance) -> None:
    folder = config.storage.data_dir.parent / "it's [1]* {a} 100% 数据;"
    storage = config.storage.model_copy(update={"data_dir": folder})
    write_day(Layout(folder), DAY)
    ran = run_days(config.model_copy(update={"storage": storage}), instance, DAY)
    assert ran.success
    assert metadata_of(ran, "training_dataset")["examples"] == 40


def test_labels_that_drift_are_reported(config: Config, layout: Layout, instance: dg.DagsterInstance) -> None:
    """Three days with all labels, then a day of nothing but mathematics."""
    for ahead in range(3):
        write_day(layout, DAY + timedelta(days=ahead))
    odd = DAY + timedelta(days=3)
    write_day(layout, odd, best="qwen-math-7b")
    ran = run_days(config, instance, DAY, odd)
    assert ran.success
    (drift,) = [
        one for one in ran.get_asset_check_evaluations() if one.check_name == "label_drift" and not one.passed
    ]
    assert drift.partition == odd.isoformat()
    assert drift.metadata["distance"].value == pytest.approx(0.8)


def test_labels_are_compared_with_all_seven_days_before_and_no_other(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """Mathematics and code in turn for a week, and writing on the day before that."""
    for back in range(8, 0, -1):
        earlier = DAY - timedelta(days=back)
        best = "qwen-writing-7b" if back == 8 else MODELS[1 + back % 2]
        write_day(layout, earlier, 10, best=best)
        ingest_day(layout, earlier, config)
        for table in ("training_examples", "label_distribution"):
            build_table(layout, table, earlier, config)
    write_raw(layout, DAY, [point(DAY, number, best=MODELS[1 + number // 20]) for number in range(30)])
    ran = run_days(config, instance, DAY)
    (drift,) = [one for one in ran.get_asset_check_evaluations() if one.check_name == "label_drift"]
    assert drift.metadata["distance"].value == pytest.approx(2 / 3 - 3 / 7, abs=1e-6)
    bars = re.findall("█+", metadata_of(ran, "label_distribution")["labels"])
    assert list(map(len, bars)) == [metadata.BAR_CHARS, metadata.BAR_CHARS // 2], "the most frequent is whole"


def test_a_damaged_table_of_the_week_before_does_not_stop_the_day(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """The comparison leaves out the damaged day and names it, and the day's tables are made."""
    bad, good, day = (DAY + timedelta(days=ahead) for ahead in range(3))
    for one in (bad, good, day):
        write_day(layout, one)
    assert run_days(config, instance, bad, good).success
    layout.table("label_distribution", bad).write_bytes(b"no Parquet")
    ran = run_days(config, instance, day)
    assert ran.success
    (drift,) = [one for one in ran.get_asset_check_evaluations() if one.check_name == "label_drift"]
    assert not drift.passed
    assert f"the table of {bad} cannot be read" in str(drift.description)
    assert drift.metadata["distance"].value == 0.0


def test_too_few_examples_fail_a_check_but_stop_nothing(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """A young installation has small datasets: the check says so every night, but the run succeeds."""
    write_day(layout, DAY, count=5)
    ran = run_days(config, instance, DAY)
    assert ran.success
    assert failed_checks(ran) == {"enough_examples": "ERROR"}


def test_a_source_that_floods_a_label_is_capped_and_shown(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """A warning names the source, and the dataset's page has the figures."""
    flood = [{**point(DAY, number, best=MODELS[1]), "source": "loud"} for number in range(1_000, 1_400)]
    write_raw(layout, DAY, [*(point(DAY, number) for number in range(40)), *flood])
    ran = run_days(config, instance, DAY)
    assert ran.success
    assert failed_checks(ran) == {"groups_within_share": "WARN"}
    dataset = metadata_of(ran, TRAINING_DATASET)
    assert dataset["left_out_by_group_cap"] > 0
    assert re.search(r"\| source \| loud \| math \| +\d+ \| +200 \|", dataset["group_caps"])


def test_a_damaged_dataset_blocks_what_trains_on_it(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """A dataset version is immutable: a file of it that changed is detected and not used."""
    write_day(layout, DAY)
    assert run_days(config, instance, DAY).success
    (train,) = layout.datasets.glob("*/train.jsonl")
    train.write_bytes(train.read_bytes()[:-10])
    ran = run_days(config, instance, DAY)
    assert not ran.success
    assert failed_checks(ran) == {"files_verify": "ERROR"}


def test_a_question_on_two_sides_of_the_split_blocks_what_trains_on_it(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """The questions themselves are compared, without case, white space and digits, whatever chose their sides."""
    asked = {**point(DAY, 99), "question": "What is 12 + 30?"}
    write_raw(layout, DAY, [asked, *(point(DAY, number) for number in range(40))])
    assert run_days(config, instance, DAY).success
    (file,) = layout.datasets.glob("*/examples.parquet")
    examples = pl.read_parquet(file)
    other = pl.when(pl.col("split") == "train").then(pl.lit("test")).otherwise(pl.lit("train"))
    again = examples.filter(pl.col("text") == asked["question"]).with_columns(
        text=pl.lit("what is 47 +  11?"), split=other.cast(examples.schema["split"])
    )
    pl.concat([examples, again]).write_parquet(file)
    ran = run_days(config, instance, DAY)
    assert not ran.success
    assert failed_checks(ran) == {"split_disjoint": "ERROR", "files_verify": "ERROR"}


def test_characters_that_only_one_library_folds_do_not_block_training(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """Digits and letters of Unicode 15 and 16, which Python chooses sides by later than polars folds them.

    Otherwise, anybody could stop every night's training with two questions.
    """
    odd = [f"what is {chr(0x1E4F0 + digit)} ?" for digit in range(10)]
    odd += [f"what is {chr(0x10D50 + upper + letter)} ?" for letter in range(10) for upper in (0, 0x20)]
    assert len({split_of(question) for question in odd}) > 1, "this Python folds them: take newer characters"
    asked = [{**point(DAY, 100 + at), "question": question} for at, question in enumerate(odd)]
    write_raw(layout, DAY, [*asked, *(point(DAY, number) for number in range(40))])
    ran = run_days(config, instance, DAY)
    assert failed_checks(ran) == {}
    assert ran.success
