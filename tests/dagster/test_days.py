"""How a run works through its days: on a real instance, with small steps in place of the lake's."""

import logging
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import dagster as dg
import pytest

from flywheel_core.config import Config
from flywheel_core.errors import StorageError
from flywheel_dagster import checks
from flywheel_dagster.days import Outcome, Step, work_through
from flywheel_dagster.partitions import daily_partitions, range_tags
from flywheel_dagster.resources import DayReport, Lake

BROKEN, DOUBTFUL = date(2026, 1, 3), date(2026, 1, 5)


def _responses(_: Lake, day: date) -> Sequence[Outcome]:
    if day == BROKEN:
        raise StorageError("cannot read training_data_20260103.jsonl: gone")
    lost = 1 if day == DOUBTFUL else 0
    verdict = checks.points_reconciled(
        lines=day.day + lost,
        accepted=day.day,
        duplicates=0,
        rejected=0,
        stored_points=day.day,
        stored_rejects=0,
    )
    return [
        Outcome("responses", "a" * 64, {"rows": day.day}, (verdict, checks.day_has_points(accepted=0))),
        Outcome("rejects", "b" * 64),
    ]


def _examples(_: Lake, day: date) -> Sequence[Outcome]:
    return [Outcome("training_examples", "c" * 64, {"rows": day.day})]


def _distribution(_: Lake, day: date) -> Sequence[Outcome]:
    drift = checks.label_drift(today={"math": day.day}, week={"code": 1}, limit=0.1)
    return [Outcome("label_distribution", "d" * 64, {}, (drift,))]


def _nothing(_: Lake, day: date) -> Sequence[Outcome]:
    return [
        Outcome(
            "training_dataset", None, {}, (checks.enough_examples(labels={}, min_examples=1, min_labels=1),)
        )
    ]


STEPS = (
    Step(("responses", "rejects"), (), _responses),
    Step(("training_examples",), ("responses",), _examples),
    Step(("label_distribution",), ("training_examples",), _distribution),
    Step(("training_dataset",), ("training_examples",), _nothing),
)
ASSETS = [asset for step in STEPS for asset in step.assets]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def _run(
    instance: dg.DagsterInstance,
    *,
    selection: Sequence[str] = ASSETS,
    reports: list[DayReport] | None = None,
    **where: Any,
) -> dg.ExecuteInProcessResult:
    partitions = daily_partitions("2026-01-01")

    @dg.multi_asset(
        specs=[dg.AssetSpec(asset) for asset in ASSETS],
        check_specs=checks.day_check_specs(partitions),
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )
    def made(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Iterator[Any]:
        yield from work_through(context, lake, STEPS)

    lake = Lake(Config(), on_day=(reports if reports is not None else []).append)
    defs = dg.Definitions(
        assets=[made],
        jobs=[dg.define_asset_job("all", selection=dg.AssetSelection.assets(*selection))],
        resources={"lake": lake},
        executor=dg.in_process_executor,
    )
    return defs.resolve_job_def("all").execute_in_process(
        {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        instance,
        raise_on_error=False,
        **where,
    )


def _days_of(instance: dg.DagsterInstance, asset: str) -> set[int]:
    return {int(key[-2:]) for key in instance.get_materialized_partitions(dg.AssetKey(asset))}


def test_a_bad_day_stops_only_itself(instance: dg.DagsterInstance) -> None:
    """Of six days, one cannot be read and one has points that do not add up; the other four are complete."""
    ran = _run(instance, tags=range_tags(date(2026, 1, 1), date(2026, 1, 6)))
    assert not ran.success
    assert _days_of(instance, "responses") == {1, 2, 4, 5, 6}, "the doubtful day can be looked at"
    assert _days_of(instance, "training_examples") == {1, 2, 4, 6}
    assert _days_of(instance, "label_distribution") == {1, 2, 4, 6}


def test_a_run_without_a_day_says_what_to_do(instance: dg.DagsterInstance) -> None:
    """*Execute all* on the page of an asset's checks starts a run that names no day."""
    ran = _run(instance)
    (failure,) = [event.step_failure_data for event in ran.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert (failure.user_failure_data.description or "").startswith("this run names no day: ")
    assert _days_of(instance, "responses") == set()


def test_the_failure_names_each_bad_day_and_why(instance: dg.DagsterInstance) -> None:
    """The failed run, and so its alarm, says which days to look at."""
    ran = _run(instance, tags=range_tags(date(2026, 1, 1), date(2026, 1, 6)))
    (failure,) = [event.step_failure_data for event in ran.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    told = failure.user_failure_data.description or ""
    assert told.startswith("2 of 6 days failed; the others are done. 2026-01-03")
    assert "2026-01-03: responses: storage_failed: cannot read training_data_20260103.jsonl: gone" in told
    assert "2026-01-05: responses: points_reconciled: 6 lines: 5 accepted" in told
    assert failure.user_failure_data.metadata["failed_days"].value == 2


def test_the_log_of_a_run_has_each_problem_and_the_stack_of_the_first_error(
    instance: dg.DagsterInstance,
) -> None:
    """The failure says that the run's log has the details."""
    ran = _run(instance, tags=range_tags(date(2026, 1, 1), date(2026, 1, 6)))
    logs = instance.all_logs(ran.run_id)
    logged = [one.user_message for one in logs if one.level == logging.ERROR and not one.is_dagster_event]
    assert logged == ["2026-01-03: responses: storage_failed: cannot read training_data_20260103.jsonl: gone"]
    (failure,) = [event.step_failure_data for event in ran.all_events if event.is_step_failure]
    assert failure.error is not None and failure.error.cause is not None
    assert "in _responses" in "".join(failure.error.cause.stack)


def test_a_single_day_that_failed_names_no_others(instance: dg.DagsterInstance) -> None:
    ran = _run(instance, partition_key="2026-01-03")
    (failure,) = [event.step_failure_data for event in ran.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert (failure.user_failure_data.description or "").startswith("1 of 1 days failed. 2026-01-03: ")


def test_metadata_and_versions_are_kept_per_day(instance: dg.DagsterInstance) -> None:
    """In a run of many days, each materialization has its day's figures and the hash of its own file."""
    _run(instance, tags=range_tags(date(2026, 1, 1), date(2026, 1, 2)))
    for day in (1, 2):
        event = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey("responses"), asset_partitions=[f"2026-01-{day:02}"]),
            limit=9,
        ).records
        assert [record.asset_materialization.metadata["rows"].value for record in event] == [day]  # type: ignore[union-attr] # a materialization record has one
        tags = event[0].asset_materialization.tags or {}  # type: ignore[union-attr] # the same
        assert tags["dagster/data_version"] == "a" * 64


@pytest.mark.parametrize("one_day", [True, False], ids=["a run of one day", "a run of a range"])
def test_check_results_are_kept_per_day(instance: dg.DagsterInstance, one_day: bool) -> None:
    """Each check result names its day and its materialization, and says whether it passed."""
    if one_day:
        for day in ("2026-01-04", "2026-01-05"):
            _run(instance, partition_key=day)
    else:
        _run(instance, tags=range_tags(date(2026, 1, 4), date(2026, 1, 5)))
    (key,) = [dg.AssetCheckKey(dg.AssetKey("responses"), "points_reconciled")]
    history = instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
    assert {record.partition: record.status.value for record in history} == {
        "2026-01-04": "SUCCEEDED",
        "2026-01-05": "FAILED",
    }
    for record in history:
        evaluation = record.evaluation
        assert evaluation is not None and evaluation.target_materialization_data is not None
        materialized = instance.fetch_materializations(
            dg.AssetRecordsFilter(
                asset_key=dg.AssetKey("responses"), asset_partitions=[str(record.partition)]
            ),
            limit=1,
        ).records[0]
        assert evaluation.target_materialization_data.storage_id == materialized.storage_id


def test_a_warning_stops_nothing(instance: dg.DagsterInstance) -> None:
    """`day_has_points` and `label_drift` fail on every day here, and the run succeeds."""
    ran = _run(instance, tags=range_tags(date(2026, 1, 1), date(2026, 1, 2)))
    assert ran.success
    failed = {event.check_name for event in ran.get_asset_check_evaluations() if not event.passed}
    assert failed == {"day_has_points", "label_drift", "enough_examples"}


def test_what_was_not_written_is_not_materialized(instance: dg.DagsterInstance) -> None:
    """A step may have nothing to write: its checks are recorded, but the day is not materialized."""
    for where in ({"partition_key": "2026-01-01"}, {"tags": range_tags(date(2026, 1, 1), date(2026, 1, 2))}):
        assert _run(instance, **where).success
    assert _days_of(instance, "training_dataset") == set()
    assert _days_of(instance, "label_distribution") == {1, 2}


def test_only_selected_assets_are_made(instance: dg.DagsterInstance) -> None:
    """Materializing one table again runs only its step."""
    assert _run(instance, selection=["training_examples"], partition_key="2026-01-03").success
    assert _days_of(instance, "training_examples") == {3}
    assert _days_of(instance, "responses") == set()


@pytest.mark.parametrize(
    "where",
    [{"partition_key": "2026-01-01"}, {"tags": range_tags(date(2026, 1, 1), date(2026, 1, 1))}],
    ids=["a run of one day", "a run of a range"],
)
def test_of_a_step_that_makes_two_assets_the_selected_one_is_recorded(
    instance: dg.DagsterInstance, where: dict[str, Any]
) -> None:
    assert _run(instance, selection=["rejects"], **where).success
    assert _days_of(instance, "rejects") == {1}
    assert _days_of(instance, "responses") == set()


def test_each_day_is_reported_as_it_ends(instance: dg.DagsterInstance) -> None:
    """Reports come in order, with the number of days done and what failed."""
    reports: list[DayReport] = []
    _run(instance, reports=reports, tags=range_tags(date(2026, 1, 2), date(2026, 1, 4)))
    assert [(one.day.day, one.done, one.total) for one in reports] == [(2, 1, 3), (3, 2, 3), (4, 3, 3)]
    assert [len(one.failures) for one in reports] == [0, 1, 0]
    assert reports[0].assets == tuple(ASSETS)
    assert all(one.seconds >= 0 for one in reports)
