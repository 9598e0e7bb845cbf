"""The check `dataset_recent`, and whom it tells: a nightly run that never started posts nothing by itself."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from flywheel_core.config import Config
from flywheel_core.lake.layout import Layout
from flywheel_dagster.definitions import build_defs
from flywheel_dagster.freshness import FRESHNESS_JOB, newest_is_recent
from flywheel_dagster.partitions import utc_now
from tests.dagster.graphs import run_days
from tests.dagster.points import write_day

DAY = date(2026, 1, 5)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def test_the_age_of_the_newest_dataset(config: Config, layout: Layout, instance: dg.DagsterInstance) -> None:
    """A dataset of yesterday made now is recent; one of an old day made now is not what the nightly run should make."""
    job = build_defs(config).resolve_job_def("dataset_freshness")

    def passed() -> bool:
        (found,) = job.execute_in_process(QUIET, instance).get_asset_check_evaluations()
        return found.passed

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
    assert [one.passed for one in told.get_asset_check_evaluations()] == [False]
    (failure,) = [event.step_failure_data for event in told.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert "no training dataset" in (failure.user_failure_data.description or "")
    again = _look(config, instance)
    assert again.success, "told within the day already"
    assert [one.passed for one in again.get_asset_check_evaluations()] == [False]


def test_before_the_first_night_nothing_is_told(config: Config, instance: dg.DagsterInstance) -> None:
    _since(instance, timedelta(hours=25))
    assert _look(config, instance).success


def test_nothing_is_told_while_there_is_a_dataset(
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
