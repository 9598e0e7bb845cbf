"""Works through the days of a run: a bad day stops only itself, and each result is recorded at once.

Dagster can run many partitions in one process, which makes a backfill cheap, but it stops the whole range at
the first failing step or blocking check. All daily assets are therefore one operation, and this module runs
the steps in order and decides what a failure holds up and which day an event belongs to. What a step does is
in `steps.py`.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (  # the public API has no name for it
    AssetCheckEvaluationTargetMaterializationData,
)

from flywheel_dagster.checks import BLOCKING, Verdict
from flywheel_dagster.failures import in_words
from flywheel_dagster.partitions import days_of
from flywheel_dagster.resources import DayReport, Lake

DATA_VERSION_TAGS = ("dagster/data_version", "dagster/data_version_is_user_provided")


@dataclass(frozen=True)
class Outcome:
    """What a step did for one asset and day.

    sha256: hash of what was written, in hex; None when nothing was.
    """

    asset: str
    sha256: str | None
    metadata: dict[str, Any] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class Step:
    """One step of a day.

    assets: those it makes; needs: those that must not have failed that day; run: makes them.
    """

    assets: tuple[str, ...]
    needs: tuple[str, ...]
    run: Callable[[Lake, date], Sequence[Outcome]]


def work_through(
    context: dg.AssetExecutionContext, lake: Lake, steps: Sequence[Step]
) -> Iterator[
    dg.MaterializeResult[Any] | dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.AssetCheckResult
]:
    """Run the selected steps for every partition of the run, day by day; yield events for Dagster to record.

    Raises dagster.Failure at the end when any day failed, naming each such day and why, and at once when the
    run names no day.
    """
    if not (context.has_partition_key or context.has_partition_key_range):
        raise dg.Failure(
            "this run names no day: materialise days instead, their checks run with them", allow_retries=False
        )
    assets = {key.to_user_string() for key in context.selected_asset_keys}
    checks = {(key.asset_key.to_user_string(), key.name) for key in context.selected_asset_check_keys}
    wanted = assets | {asset for asset, _ in checks}
    record = _as_results if context.has_partition_key else _as_events
    made = tuple(asset for step in steps for asset in step.assets if asset in assets)
    days = days_of(context.partition_keys)
    failed: dict[date, list[str]] = {}
    first_error: Exception | None = None
    for done, day in enumerate(days, start=1):
        started = time.monotonic()
        broken: set[str] = set()
        problems: list[str] = []
        for step in steps:
            if not wanted.intersection(step.assets):
                continue
            if broken.intersection(step.needs):
                broken.update(step.assets)
                continue
            try:
                outcomes = step.run(lake, day)
            except Exception as error:
                broken.update(step.assets)
                problems.append(f"{step.assets[0]}: {in_words(error)}")
                context.log.error(f"{day}: {problems[-1]}", exc_info=error)
                first_error = first_error or error
                continue
            for outcome in outcomes:
                yield from record(context, day, _selected(outcome, checks), outcome.asset in assets)
                stops = [verdict for verdict in outcome.verdicts if verdict.stops]
                if stops:
                    broken.add(outcome.asset)
                    problems.extend(f"{outcome.asset}: {one.check}: {one.says}" for one in stops)
        if problems:
            failed[day] = problems
        report = DayReport(day, made, done, len(days), time.monotonic() - started, tuple(problems))
        context.log.info(f"{day}: day {done} of {len(days)}, {report.seconds:.2f} s")
        lake.on_day(report)
    if failed:
        raise _failure(failed, len(days)) from first_error


def _selected(outcome: Outcome, checks: set[tuple[str, str]]) -> Outcome:
    kept = tuple(one for one in outcome.verdicts if (outcome.asset, one.check) in checks)
    return Outcome(outcome.asset, outcome.sha256, outcome.metadata, kept)


def _as_results(
    _: dg.AssetExecutionContext, day: date, outcome: Outcome, selected: bool
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Yield the results of a run of one day.

    Dagster adds the partition, and steps downstream may follow in the same run.
    """
    results = [
        dg.AssetCheckResult(
            asset_key=outcome.asset,
            check_name=one.check,
            passed=one.passed,
            severity=one.severity,
            description=one.says,
            metadata=one.figures,
        )
        for one in outcome.verdicts
    ]
    if selected and outcome.sha256 is not None:
        yield dg.MaterializeResult(
            asset_key=outcome.asset,
            metadata=outcome.metadata,
            data_version=dg.DataVersion(outcome.sha256),
            check_results=results,
        )
    else:
        yield from results


def _as_events(
    context: dg.AssetExecutionContext, day: date, outcome: Outcome, selected: bool
) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    """Yield the events of a run of many days.

    Each names its day, because a result would count for all of them.
    """
    partition = day.isoformat()
    key = dg.AssetKey(outcome.asset)
    if selected and outcome.sha256 is not None:
        version, given = DATA_VERSION_TAGS
        yield dg.AssetMaterialization(
            key, partition=partition, metadata=outcome.metadata, tags={version: outcome.sha256, given: "true"}
        )
    target = _newest(context.instance, key, partition) if outcome.verdicts else None
    for one in outcome.verdicts:
        yield dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=one.check,
            passed=one.passed,
            severity=one.severity,
            description=one.says,
            metadata=one.figures,
            partition=partition,
            blocking=one.check in BLOCKING,
            target_materialization_data=target,
        )


def _newest(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str
) -> AssetCheckEvaluationTargetMaterializationData | None:
    """Return the materialization that a check of this day refers to, None when there is none."""
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition]), limit=1
    )
    for record in found.records:
        return AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
    return None


def _failure(failed: dict[date, list[str]], total: int) -> dg.Failure:
    rows: Iterable[str] = (
        f"| {day} | {problem.replace('|', '/')} |" for day, problems in failed.items() for problem in problems
    )
    named = "; ".join(f"{day}: {problems[0]}" for day, problems in failed.items())
    others = "; the others are done" if len(failed) < total else ""
    return dg.Failure(
        f"{len(failed)} of {total} days failed{others}. {named}",
        metadata={
            "failed_days": len(failed),
            "what_failed": dg.MetadataValue.md("\n".join(("| day | what |", "| --- | --- |", *rows))),
        },
        allow_retries=False,
    )
