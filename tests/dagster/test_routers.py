"""The router's assets on a real instance and real tables, with a small router that looks at one word."""

import re
from collections.abc import Iterator
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flywheel_core.config import Config, Storage
from flywheel_core.lake.dataset import latest_dataset
from flywheel_core.lake.views import write_views_file
from flywheel_core.learn.craft import trained_craft
from flywheel_core.learn.nightly import Craft
from flywheel_core.learn.promote import Slice
from flywheel_core.learn.registry import Registry
from flywheel_core.learn.settings import Learning
from flywheel_dagster.definitions import build_defs
from flywheel_dagster.partitions import daily_partitions, range_tags
from flywheel_dagster.resources import Lake
from flywheel_dagster.router_assets import ROUTER_ASSETS, router_assets
from flywheel_dagster.router_checks import router_checks
from flywheel_dagster.router_runs import NIGHTLY_RETRAIN
from tests.core.learn import toy

PER_DAY = 600


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    config = toy.config(tmp_path)
    return Lake(config.model_copy(update={"storage": Storage(data_dir=tmp_path, first_day=str(toy.FIRST))}))


def retrain(
    instance: dg.DagsterInstance, lake: Lake, day: date, craft: Craft = toy.CRAFT, **options: Any
) -> dg.ExecuteInProcessResult:
    """Run the job `nightly_retrain` for a day."""
    partitions = daily_partitions(str(toy.FIRST))
    defs = dg.Definitions(
        assets=router_assets(partitions),
        asset_checks=list(router_checks()),
        jobs=[NIGHTLY_RETRAIN],
        resources={"lake": lake, "craft": craft},
        executor=dg.in_process_executor,
    )
    return defs.resolve_job_def(NIGHTLY_RETRAIN.name).execute_in_process(
        {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        instance,
        partition_key=day.isoformat(),
        **options,
    )


def shown(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (made,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in made.metadata.items()}


def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {one.check_name: one.passed for one in result.get_asset_check_evaluations()}


def test_nightly_runs_train_evaluate_promote_and_deploy(instance: dg.DagsterInstance, lake: Lake) -> None:
    first, second, third = toy.days(3)
    toy.make_day(lake.layout, lake.config, first, PER_DAY)
    night = retrain(instance, lake, first)
    assert night.success
    assert shown(night, "router_evaluation")["verdict"] == "not_yet"
    assert shown(night, "champion_router")["version"].startswith("single-")
    assert verdicts(night) == dict.fromkeys(
        (
            "trained_on_current_dataset",
            "artefact_verifies",
            "no_single_model_is_better",
            "deployed_answers_agree",
            "gateways_follow",
        ),
        True,
    )

    toy.make_day(lake.layout, lake.config, second, PER_DAY)
    night = retrain(instance, lake, second)
    judged = shown(night, "router_evaluation")
    assert judged["verdict"] == "promoted"
    assert judged["lower"] > 0
    assert judged["look"] == 1
    (figures,) = (
        record.entry.figures
        for record in Registry(lake.layout, toy.verify).history()
        if record.entry.kind == "judged" and record.entry.version == judged["challenger"]
    )
    told = {name for name, value in figures.items() if value is not None}
    assert told - {"outcome"} <= set(judged), (
        "the page shows every figure of the log; the verdict is the outcome"
    )
    assert judged["slices"].startswith("| " + " | ".join(one.name for one in fields(Slice)) + " |")
    champion = shown(night, "champion_router")
    assert (champion["version"], champion["promoted_now"]) == (judged["challenger"], True)
    assert shown(night, "deployed_router")["version"] == judged["challenger"]
    assert all(verdicts(night).values())

    toy.make_day(lake.layout, lake.config, third, PER_DAY)
    night = retrain(instance, lake, third)
    assert night.success, "not promoting is a normal run"
    assert shown(night, "router_evaluation")["verdict"] in ("not_yet", "rejected")
    assert shown(night, "champion_router")["version"] == champion["version"]


def test_a_promotion_names_its_run(instance: dg.DagsterInstance, lake: Lake) -> None:
    toy.make_day(lake.layout, lake.config, toy.FIRST, PER_DAY)
    night = retrain(instance, lake, toy.FIRST)
    (entry, _) = (record.entry for record in Registry(lake.layout, toy.verify).history())
    assert entry.by == f"dagster run {night.run_id}"


def test_repeating_a_day_spends_no_further_look(instance: dg.DagsterInstance, lake: Lake) -> None:
    toy.make_day(lake.layout, lake.config, toy.FIRST, PER_DAY)
    retrain(instance, lake, toy.FIRST)
    before = Registry(lake.layout, toy.verify).history()
    retrain(instance, lake, toy.FIRST)
    assert Registry(lake.layout, toy.verify).history() == before


def test_a_day_without_a_dataset_fails_and_says_what_to_do(instance: dg.DagsterInstance, lake: Lake) -> None:
    night = retrain(instance, lake, toy.FIRST, raise_on_error=False)
    assert not night.success
    (failed,) = (event for event in night.all_events if event.is_step_failure)
    words = failed.step_failure_data.user_failure_data
    assert words is not None, "Dagster's page would begin with its own words and a stack trace"
    assert words.description is not None
    assert words.description.startswith(
        "challenger_router: dataset_invalid: there is no dataset of 2026-01-05"
    )
    assert "flywheel ingest 2026-01-05, then flywheel label 2026-01-05" in words.description
    error = failed.step_failure_data.error
    assert error is not None and error.cause is not None
    assert "no dataset of 2026-01-05" in error.cause.message


def test_the_views_name_the_dataset_that_a_retraining_made(instance: dg.DagsterInstance, lake: Lake) -> None:
    """As when a late file or another setting came after the training set: nobody else writes them before the next night."""
    before = toy.make_day(lake.layout, lake.config, toy.FIRST, PER_DAY)
    views = write_views_file(lake.layout)
    changed = lake.config.model_copy(update={"dataset": lake.config.dataset.model_copy(update={"seed": 1})})
    assert retrain(instance, Lake(changed), toy.FIRST).success
    assert latest_dataset(lake.layout) not in (None, before)
    assert f"'{latest_dataset(lake.layout)}'" in views.read_text()


def test_a_damaged_champion_fails_its_checks_and_is_not_deployed(
    instance: dg.DagsterInstance, lake: Lake
) -> None:
    toy.make_day(lake.layout, lake.config, toy.FIRST, PER_DAY)
    retrain(instance, lake, toy.FIRST)
    champion = Registry(lake.layout, toy.verify).champion()
    assert champion is not None
    rules = lake.layout.router(champion.version) / "rules.json"
    rules.write_bytes(rules.read_bytes()[:-1])
    partitions = daily_partitions(str(toy.FIRST))
    done = dg.materialize(
        [*router_assets(partitions), *router_checks()],
        selection=dg.AssetSelection.assets("deployed_router", "champion_router"),
        instance=instance,
        resources={"lake": lake, "craft": toy.CRAFT},
        raise_on_error=False,
    )
    assert not done.success
    found = {one.check_name: one.passed for one in done.get_asset_check_evaluations()}
    assert found == {"artefact_verifies": False, "no_single_model_is_better": False}
    (failed,) = (event for event in done.all_events if event.is_step_failure)
    words = failed.step_failure_data.user_failure_data
    assert words is not None and str(words.description).startswith(
        "deployed_router: router_damaged: a gateway would refuse the champion: "
    )


def test_the_assets_are_described_and_owned() -> None:
    specs = [spec for asset in router_assets(daily_partitions("2026-01-01")) for spec in asset.specs]
    assert [spec.key.to_user_string() for spec in specs] == list(ROUTER_ASSETS)
    assert all(spec.description and spec.owners and spec.group_name == "router" for spec in specs)
    assert Config().promotion.automatic


def test_a_real_router_is_promoted_and_shows_its_figures(instance: dg.DagsterInstance, lake: Lake) -> None:
    quick = lake.config.model_copy(update={"learning": Learning(trees=10, dimensions=8, min_examples=100)})
    lake = Lake(quick)
    for day in toy.days(2):
        toy.make_day(lake.layout, quick, day, PER_DAY)
    night = retrain(instance, lake, toy.days(2)[-1], trained_craft())
    trained = shown(night, "challenger_router")
    assert trained["in_short"].startswith(
        f"Trained on {trained['examples']} examples: the blend of estimators"
    )
    judged = shown(night, "router_evaluation")
    assert judged["verdict"] == "promoted"
    assert judged["test_best_single"] < judged["test_routed"] <= judged["test_oracle"]
    plotted = ("test_category_macro_f1", "test_calibration_error", "test_apgr", "test_cpt50", "share_coder")
    assert all(isinstance(judged[name], float) for name in plotted)
    assert "data:image/svg+xml" in str(judged["test_scores"])
    assert "data:image/svg+xml" in str(judged["test_curve"])
    assert "data:image/svg+xml" in str(judged["test_gains"])
    assert "the answers are better" in judged["in_short"]
    assert re.search(r"\| latency \| [\d.]+ ms \|", judged["test_figures"]), "figures carry their units"
    assert judged["newest"] > 1_767_000_000
    assert lake.layout.evaluation(judged["challenger"], "json").is_file()
    assert judged["challenger"] in Path(judged["page"]).read_text()
    assert all(verdicts(night).values())


def test_a_finished_training_set_starts_the_retraining_of_its_day() -> None:
    defs = build_defs(Config(storage=Storage(first_day="2026-01-01")))
    sensor = defs.resolve_sensor_def("after_training_set")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert defs.resolve_job_def(NIGHTLY_RETRAIN.name)
    for tags, day in (
        ({"dagster/partition": "2026-01-05"}, "2026-01-05"),
        (range_tags(date(2026, 1, 3), date(2026, 1, 6)), "2026-01-06"),
    ):
        run = dg.DagsterRun(job_name="training_set", run_id="1" * 8, tags=tags)
        event = dg.DagsterEvent("PIPELINE_SUCCESS", "training_set", message="")
        with dg.DagsterInstance.ephemeral() as found:
            context = dg.build_run_status_sensor_context(
                sensor_name=sensor.name, dagster_event=event, dagster_instance=found, dagster_run=run
            )
            request = sensor(context)
        assert (request.partition_key, request.run_key) == (day, f"{day}:{run.run_id}")  # type: ignore[union-attr] # a request


DAYS_TAG = {"dagster/partition": "2026-01-05"}


@pytest.mark.parametrize(
    ("examples", "tags", "why_not"),
    [(0, DAYS_TAG, "no example"), (1, DAYS_TAG, None), (1, {}, "the run names no day")],
)
def test_when_a_training_set_starts_a_retraining(
    instance: dg.DagsterInstance, examples: int, tags: dict[str, str], why_not: str | None
) -> None:
    """A dataset without examples starts none: before the first data point arrives it could only fail and raise an alarm."""
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            "training_dataset",
            partition="2026-01-05",
            metadata={"examples": examples, "dagster/row_count": 0},
        )
    )
    sensor = build_defs(Config(storage=Storage(first_day="2026-01-01"))).resolve_sensor_def(
        "after_training_set"
    )
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor.name,
        dagster_event=dg.DagsterEvent("PIPELINE_SUCCESS", "training_set", message=""),
        dagster_instance=instance,
        dagster_run=dg.DagsterRun(job_name="training_set", run_id="1" * 8, tags=tags),
    )
    told = sensor(context)
    assert isinstance(told, dg.RunRequest) is (why_not is None)
    if why_not:
        assert why_not in str(told.skip_message)  # type: ignore[union-attr] # a skip reason
