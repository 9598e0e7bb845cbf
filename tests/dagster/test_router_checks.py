"""The checks of routers, looked at alone: what fails each of them, and what it says."""

import json
import re
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from flywheel_core.config import Storage
from flywheel_core.lake.atomic import write_atomically
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.learn.champion import MANIFEST
from flywheel_core.learn.registry import Registry
from flywheel_core.learn.standing import DAYS
from flywheel_dagster import router_checks as router_checks_module
from flywheel_dagster.partitions import daily_partitions, utc_now
from flywheel_dagster.resources import Lake
from flywheel_dagster.router_assets import CHALLENGER, CHAMPION, ROUTER_ASSETS, router_assets
from flywheel_dagster.router_checks import router_checks
from tests.core.learn import toy
from tests.dagster.test_routers import PER_DAY, retrain

NONE = "there is no champion"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A data folder with a day of points."""
    config = toy.config(tmp_path)
    made = Lake(config.model_copy(update={"storage": Storage(data_dir=tmp_path, first_day=str(toy.FIRST))}))
    toy.make_day(made.layout, made.config, toy.FIRST, PER_DAY)
    return made


def failed(instance: dg.DagsterInstance, lake: Lake) -> dict[str, str]:
    """Run the checks without making anything; return check -> what it says, for those that did not pass."""
    done = dg.materialize(
        [*router_assets(daily_partitions(str(toy.FIRST))), *router_checks()],
        selection=dg.AssetSelection.checks_for_assets(*ROUTER_ASSETS),
        instance=instance,
        resources={"lake": lake, "craft": toy.CRAFT},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    found = done.get_asset_check_evaluations()
    assert len(found) == 5
    return {one.check_name: str(one.description) for one in found if not one.passed}


def champion_folder(lake: Lake) -> Path:
    champion = Registry(lake.layout, toy.verify).champion()
    assert champion is not None
    return lake.layout.router(champion.version)


def test_before_the_first_night_no_check_passes(instance: dg.DagsterInstance, lake: Lake) -> None:
    says = failed(instance, lake)
    assert says.pop("trained_on_current_dataset").startswith("trained on None, the current dataset is ")
    assert says == {"artefact_verifies": NONE, "deployed_answers_agree": NONE}


def test_before_the_first_night_there_is_no_champion_to_show(
    instance: dg.DagsterInstance, lake: Lake
) -> None:
    done = dg.materialize(
        router_assets(daily_partitions(str(toy.FIRST))),
        selection=dg.AssetSelection.assets(CHAMPION),
        instance=instance,
        resources={"lake": lake, "craft": toy.CRAFT},
        raise_on_error=False,
    )
    (failure,) = (event for event in done.all_events if event.is_step_failure)
    words = failure.step_failure_data.user_failure_data
    assert words is not None and str(words.description).endswith(
        "there is no champion yet; materialise router_evaluation first"
    )


def test_a_dataset_that_no_challenger_was_trained_on_is_noticed(
    instance: dg.DagsterInstance, lake: Lake
) -> None:
    """As when the retraining of a night failed."""
    retrain(instance, lake, toy.FIRST)
    assert failed(instance, lake) == {}
    newer = toy.make_day(lake.layout, lake.config, toy.days(2)[1], PER_DAY)
    (says,) = failed(instance, lake).items()
    assert says[0] == "trained_on_current_dataset"
    assert says[1].endswith(f"the current dataset is {newer}")


def test_a_challenger_that_was_reported_by_hand_is_not_taken_for_the_current_one(
    instance: dg.DagsterInstance, lake: Lake
) -> None:
    """The UI can report a materialization, which says nothing about a dataset."""
    retrain(instance, lake, toy.FIRST)
    instance.report_runless_asset_event(dg.AssetMaterialization(CHALLENGER))
    (says,) = failed(instance, lake).items()
    assert says[0] == "trained_on_current_dataset"
    assert says[1].startswith("trained on None, the current dataset is ")


def test_a_damaged_champion_is_noticed(instance: dg.DagsterInstance, lake: Lake) -> None:
    retrain(instance, lake, toy.FIRST)
    rules = champion_folder(lake) / "rules.json"
    rules.write_bytes(rules.read_bytes()[:-1])
    says = failed(instance, lake)
    assert says.keys() == {"artefact_verifies", "no_single_model_is_better", "deployed_answers_agree"}
    assert all("is damaged" in words for words in says.values())


def test_a_manifest_that_was_exchanged_after_the_promotion_is_noticed(
    instance: dg.DagsterInstance, lake: Lake
) -> None:
    """The files are whole by the new manifest, but nobody judged and promoted them."""
    retrain(instance, lake, toy.FIRST)
    manifest = champion_folder(lake) / MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_bytes()), "made": "by hand"}))
    says = failed(instance, lake)
    assert says["artefact_verifies"] == f"{manifest} is not the one that was promoted"


def test_a_router_that_a_single_model_outdoes_is_noticed(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that it trusts has become worse; a challenger would need weeks of questions to take its place."""
    first, second, third = toy.days(3)
    retrain(instance, lake, first)
    toy.make_day(lake.layout, lake.config, second, PER_DAY)
    retrain(instance, lake, second)
    assert "toy" in champion_folder(lake).name
    assert failed(instance, lake) == {}
    monkeypatch.setitem(toy.SKILL, ("coder", "code"), 0.05)
    later = third + timedelta(days=DAYS)
    toy.make_day(lake.layout, lake.config, later, PER_DAY)
    says = failed(instance, lake)["no_single_model_is_better"]
    assert re.fullmatch(
        rf"on \d+ test questions from {third + timedelta(days=1)} to {later} always asking one model has more utility"
        rf" than router {champion_folder(lake).name}: all-round by 0\.\d+ \(at least 0\.\d+\)",
        says,
    )


@pytest.mark.parametrize(("following", "passes"), [(19, True), (18, True), (17, False), (0, False)])
def test_a_gateway_that_does_not_take_up_routers_is_noticed(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch, following: int, passes: bool
) -> None:
    """Its copy of data/routers is no longer brought up to date. Seen from the day after tomorrow."""
    retrain(instance, lake, toy.FIRST)
    now = utc_now()
    day = (now + timedelta(days=1)).date()
    serving = Registry(lake.layout, toy.verify).champion()
    assert serving is not None
    lines = [
        {
            "id": str(number),
            "question": f"question {number}",
            "timestamp": int(now.timestamp()),
            "responses": {"big": {"model": "big", "answer": "x"}},
            "scores": {"big": 0.5},
            "source": "east",
            "classification": {
                "router_version": serving.version if number < following else "stale",
                "reason": "router",
            },
        }
        for number in range(20)
    ]
    write_atomically(lake.layout.raw_file(day), b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    ingest_day(lake.layout, day, lake.config, today=day + timedelta(days=1))
    assert failed(instance, lake) == {}, "that day is not over"
    monkeypatch.setattr(router_checks_module, "utc_now", lambda: now + timedelta(days=2))
    says = failed(instance, lake)
    assert (says == {}) == passes
    if not passes:
        assert says["gateways_follow"].startswith(
            f"east: of 20 decisions {following} were by a router in service (stale {20 - following})"
        )
