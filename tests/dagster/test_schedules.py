"""The schedules, ticked as Dagster's daemon would tick them."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from flywheel_core.config import Config, Operations, Storage
from flywheel_dagster.definitions import build_defs

DEFS = ("nightly_training_set", "hourly_dataset_check")


def _tick(name: str, moment: datetime) -> dg.ScheduleEvaluationContext | object:
    defs = build_defs(Config(storage=Storage(first_day="2026-01-01")))
    schedule = defs.resolve_schedule_def(name)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance, scheduled_execution_time=moment, resources={}, repository_def=defs.get_repository_def()
        )
        return schedule.evaluate_tick(context)


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2026, 1, 6, 1, 30, tzinfo=UTC), "2026-01-05"),
        (datetime(2026, 3, 1, 1, 30, tzinfo=UTC), "2026-02-28"),
    ],
)
def test_the_nightly_run_makes_yesterday(moment: datetime, day: str) -> None:
    """The schedule names yesterday itself, because the newest partition is the open day."""
    (request,) = _tick("nightly_training_set", moment).run_requests  # type: ignore[attr-defined] # tick data has them
    assert request.partition_key == day
    assert request.run_key == day, "a night is run once, however often the daemon asks"


def test_before_the_first_day_the_nightly_run_is_skipped() -> None:
    """Yesterday has no partition: the tick says so instead of failing."""
    tick = _tick("nightly_training_set", datetime(2026, 1, 1, 1, 30, tzinfo=UTC))
    assert not tick.run_requests  # type: ignore[attr-defined] # tick data has them
    assert "before storage.first_day" in tick.skip_message  # type: ignore[attr-defined] # tick data has it


def test_times_are_utc_and_everything_is_switched_on() -> None:
    """Nothing has to be switched on in the UI."""
    defs = build_defs(Config(operations=Operations(rewrite_check_interval=77)))
    by_name = {name: defs.resolve_schedule_def(name) for name in DEFS}
    assert by_name["nightly_training_set"].cron_schedule == "30 1 * * *"
    assert by_name["hourly_dataset_check"].cron_schedule == "45 * * * *"
    assert {schedule.execution_timezone for schedule in by_name.values()} == {"UTC"}
    assert {schedule.default_status for schedule in by_name.values()} == {dg.DefaultScheduleStatus.RUNNING}
    for name, seconds in (("late_days", 77), ("after_training_set", 30), ("run_failed", 30)):
        sensor = defs.resolve_sensor_def(name)
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
        assert sensor.minimum_interval_seconds == seconds
