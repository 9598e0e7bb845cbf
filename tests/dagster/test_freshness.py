"""The check `dataset_recent`, and whom it tells: a nightly run that never started posts nothing by itself."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from flywheel_core.config import Config
from flywheel_core.config_collection import DataCollection
from flywheel_core.lake.layout import Layout
from flywheel_dagster.assets import TRAINING_DATASET
from flywheel_dagster.definitions import build_defs
from flywheel_dagster.freshness import FRESHNESS_JOB, RETRAIN_JOB, is_retraining_left_out, newest_is_recent
from flywheel_dagster.partitions import utc_now
from tests.dagster.graphs import run_days
from tests.dagster.points import write_day

DAY = date(2026, 1, 5)
RETRAINED = "trained_on_current_dataset"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def test_the_age_of_the_newest_dataset(config: Config, layout: Layout, instance: dg.DagsterInstance) -> None:
    """A dataset of yesterday made now is recent; one of an old day made now is not what the nightly run should make."""
    job = build_defs(config).resolve_job_def("dataset_freshness")

    def passed() -> bool:
        return _passed(job.execute_in_process(QUIET, instance))["dataset_recent"]

    assert not passed()
    write_day(layout, DAY)
    assert run_days(config, instance, DAY).success
    assert not passed()
    yesterday = utc_now().date() - timedelta(days=1)
    write_day(layout, yesterday)
    assert run_days(config, instance, yesterday).success
    assert passed()


def test_recent_means_26_hours() -> None:
    """The limit is exact to the minute."""
    now = datetime(2026, 1, 7, 3, 30, tzinfo=UTC)
    assert newest_is_recent(now - timedelta(hours=26), "2026-01-05", now)[0]
    assert not newest_is_recent(now - timedelta(hours=26, minutes=1), "2026-01-05", now)[0]
    assert newest_is_recent(None, None, now) == (
        False,
        "no training dataset that ends with 2026-01-05 or a later day was made yet",
    )


def test_the_age_of_the_newest_dataset_is_said_in_hours() -> None:
    now = datetime(2026, 1, 7, 3, 30, tzinfo=UTC)
    assert newest_is_recent(now - timedelta(hours=25, minutes=30), "2026-01-05", now) == (
        True,
        "the newest training dataset (2026-01-05) was made 25.5 h ago; 26 h are allowed",
    )


def _look(config: Config, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = build_defs(config).resolve_job_def(FRESHNESS_JOB)
    return job.execute_in_process(QUIET, instance, raise_on_error=False)


def _passed(ran: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {one.check_name: one.passed for one in ran.get_asset_check_evaluations()}


def _since(instance: dg.DagsterInstance, age: timedelta) -> None:
    """Have the instance's first run be so old."""
    run = dg.DagsterRun(job_name="day_tables", run_id="first", status=dg.DagsterRunStatus.SUCCESS)
    instance.run_storage.add_historical_run(run, utc_now() - age)


def test_a_nightly_run_that_never_started_is_told_by_a_failed_run_once_a_day(
    config: Config, instance: dg.DagsterInstance
) -> None:
    """Its schedule is off, or its daemon was away: no run failed, so without this nothing is posted, ever."""
    _since(instance, timedelta(hours=27))
    told = _look(config, instance)
    assert not told.success
    assert _passed(told) == {"dataset_recent": False, RETRAINED: True}
    (failure,) = [event.step_failure_data for event in told.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert "no training dataset" in (failure.user_failure_data.description or "")
    again = _look(config, instance)
    assert again.success, "told within the day already"
    assert _passed(again) == {"dataset_recent": False, RETRAINED: True}


def test_before_the_first_night_nothing_is_told(config: Config, instance: dg.DagsterInstance) -> None:
    _since(instance, timedelta(hours=25))
    assert _look(config, instance).success


def test_nothing_is_told_while_there_is_a_dataset_and_retraining_may_begin(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    _since(instance, timedelta(days=3))
    yesterday = utc_now().date() - timedelta(days=1)
    write_day(layout, yesterday)
    assert run_days(config, instance, yesterday).success
    assert _look(config, instance).success


def test_a_run_from_an_asset_s_page_does_not_fail_for_it(
    config: Config, instance: dg.DagsterInstance
) -> None:
    """Who makes an old day by hand has made it, whatever the nightly runs do."""
    _since(instance, timedelta(days=3))
    check = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("training_dataset"), "dataset_recent"))
    by_hand = dg.Definitions.merge(
        build_defs(config), dg.Definitions(jobs=[dg.define_asset_job("by_hand", selection=check)])
    )
    ran = by_hand.resolve_job_def("by_hand").execute_in_process(QUIET, instance)
    assert [one.passed for one in ran.get_asset_check_evaluations()] == [False]


def test_a_retraining_that_nothing_starts_is_told(
    config: Config, layout: Layout, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sensor `after_training_set` is off: datasets go on, routers do not, and the check itself ran only with a retraining."""
    _since(instance, timedelta(days=3))
    yesterday = utc_now().date() - timedelta(days=1)
    write_day(layout, yesterday)
    assert run_days(config, instance, yesterday).success
    later = utc_now() + timedelta(hours=2)
    monkeypatch.setattr("flywheel_dagster.freshness.utc_now", lambda: later)
    told = _look(config, instance)
    assert _passed(told) == {"dataset_recent": True, RETRAINED: False}
    (failure,) = [event.step_failure_data for event in told.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert "nightly_retrain was not started" in (failure.user_failure_data.description or "")


@pytest.mark.parametrize("examples", [0, 5])
def test_a_retraining_is_missed_only_without_a_run_and_with_examples(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, examples: int
) -> None:
    """A run that failed was posted itself, and an empty dataset starts none."""
    yesterday = str(utc_now().date() - timedelta(days=1))
    instance.report_runless_asset_event(
        dg.AssetMaterialization(TRAINING_DATASET, partition=yesterday, metadata={"examples": examples})
    )
    assert not is_retraining_left_out(instance), "it may still begin"
    later = utc_now() + timedelta(hours=2)
    monkeypatch.setattr("flywheel_dagster.freshness.utc_now", lambda: later)
    assert is_retraining_left_out(instance) is (examples > 0)
    failed = dg.DagsterRun(job_name=RETRAIN_JOB, run_id="failed", status=dg.DagsterRunStatus.FAILURE)
    instance.run_storage.add_historical_run(failed, utc_now())
    assert not is_retraining_left_out(instance)


def _last_night_s_dataset(instance: dg.DagsterInstance) -> None:
    """Record a dataset without examples of yesterday, as each night makes without data."""
    yesterday = str(utc_now().date() - timedelta(days=1))
    instance.report_runless_asset_event(
        dg.AssetMaterialization(TRAINING_DATASET, partition=yesterday, metadata={"examples": 0})
    )


@pytest.mark.parametrize(("days", "passes"), [(7, True), (8, False)])
def test_a_week_in_which_nothing_arrived_is_told(
    config: Config, layout: Layout, instance: dg.DagsterInstance, days: int, passes: bool
) -> None:
    """The collector writes to another folder: every night succeeds, and makes empty tables and the dataset of before."""
    _since(instance, timedelta(days=30))
    write_day(layout, utc_now().date() - timedelta(days=days))
    _last_night_s_dataset(instance)
    told = _look(config, instance)
    assert (told.success, _passed(told)["dataset_recent"]) == (passes, passes)
    said = [str(one.description) for one in told.get_asset_check_evaluations() if not one.passed]
    assert passes or str(layout.root) in said[0]


@pytest.mark.parametrize("collected", [True, False])
def test_an_installation_that_never_got_a_data_point_is_told_so_if_it_should_get_some(
    config: Config, instance: dg.DagsterInstance, collected: bool
) -> None:
    _since(instance, timedelta(days=8))
    _last_night_s_dataset(instance)
    settings = DataCollection(mode="training" if collected else "production")
    told = _look(config.model_copy(update={"data_collection": settings}), instance)
    assert _passed(told)["dataset_recent"] is not collected
