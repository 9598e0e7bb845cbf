"""Nights on real tables: the first champion, challengers judged on later questions, and repeated runs."""

import re
from pathlib import Path

import pytest

from flywheel_core.config import Config, Model
from flywheel_core.config_promotion import Promotion
from flywheel_core.lake.layout import Layout, day_of, first_second
from flywheel_core.learn.evidence import fresh_questions
from flywheel_core.learn.nightly import Night, best_single_champion, promote_passed, run_night
from flywheel_core.learn.registry import Registry
from tests.core.learn import toy

PER_DAY = 600


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    return toy.config(tmp_path)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def night(layout: Layout, settings: Config, number: int, challenger: str | None = None) -> Night:
    """Run the `number`-th night, from 0: data arrive, and a challenger, trained unless given, is judged."""
    day = toy.days(number + 1)[-1]
    dataset = toy.make_day(layout, settings, day, PER_DAY)
    version = challenger or toy.train(layout, dataset, settings)
    return run_night(layout, version, dataset, day, settings, toy.CRAFT, by="tests")


def test_the_first_champion_is_the_best_single_model_and_rests_on_no_test_question(
    layout: Layout, settings: Config
) -> None:
    dataset = toy.make_day(layout, settings, toy.FIRST, PER_DAY)
    champion = best_single_champion(layout, dataset, toy.FIRST, settings, toy.CRAFT, by="tests")
    assert champion is not None
    assert (champion.version, champion.since) == (f"single-{dataset}", None)
    assert toy.load(layout.router(champion.version)).rules == {}
    assert best_single_champion(layout, dataset, toy.FIRST, settings, toy.CRAFT, by="tests") is None


def test_the_best_model_so_far_serves_until_a_learned_router_is_promoted(
    layout: Layout, settings: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What few questions suggested at first does not stay; a promoted router does, whatever model is best."""
    registry = Registry(layout, toy.verify)

    def kinds() -> list[str]:
        return [record.entry.kind for record in registry.history() if record.entry.kind != "judged"]

    usual = dict(toy.SKILL)
    monkeypatch.setattr(toy, "SKILL", {**usual, ("coder", "story"): 0.95, ("all-round", "code"): 0.1})
    dataset = toy.make_day(layout, settings, toy.FIRST, 100)
    first = best_single_champion(layout, dataset, toy.FIRST, settings, toy.CRAFT, by="tests")
    assert first is not None
    assert toy.load(layout.router(first.version)).default == "coder"
    monkeypatch.setattr(toy, "SKILL", usual)
    worse = toy.publish(layout, "worse", "coder", {"code": "all-round"})
    by_hand = settings.model_copy(update={"promotion": Promotion(automatic=False)})
    assert night(layout, by_hand, 1, challenger=worse).champion == first
    second = night(layout, settings, 1, challenger=worse)
    assert toy.load(layout.router(second.champion.version)).default == "all-round"
    assert (second.champion.since, second.verdict, kinds()) == (None, "not_yet", ["first", "renewed"])
    again = best_single_champion(layout, dataset, toy.FIRST, settings, toy.CRAFT, by="tests")
    assert again is None  # an earlier day that runs again changes nothing
    third = night(layout, settings, 2)
    assert (third.verdict, kinds()) == ("promoted", ["first", "renewed", "promoted"])
    monkeypatch.setattr(toy, "SKILL", {**usual, ("coder", "story"): 1.0})
    night(layout, settings, 3, challenger=worse)
    assert registry.champion() == third.champion


def test_a_better_challenger_replaces_the_first_champion_once_there_are_enough_questions(
    layout: Layout, settings: Config
) -> None:
    first = night(layout, settings, 0)
    assert first.verdict == "not_yet"
    assert first.champion.version.startswith("single-")
    second = night(layout, settings, 1)
    assert second.verdict == "promoted"
    assert second.champion.version == second.challenger
    assert second.figures["mean"] > 0.1
    assert 200 <= second.figures["questions"] < 2 * PER_DAY * 0.3


def test_questions_from_before_the_promotion_judge_no_later_challenger(
    layout: Layout, settings: Config
) -> None:
    night(layout, settings, 0)
    promoted = night(layout, settings, 1)
    newest = promoted.champion.since
    assert newest is not None
    later = night(layout, settings, 2, challenger=toy.publish(layout, "worse", "coder", {}))
    after = fresh_questions(layout, newest, toy.days(3)[-1], Promotion())
    assert after["received_at"].min() > newest  # type: ignore[operator]  # a column of floats
    assert later.verdict == "not_yet"
    assert later.figures["questions"] == after.height < 200


def test_questions_without_a_time_of_receipt_judge_one_champion_only(
    layout: Layout, settings: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raw files of the reference service have no time of receipt, but their names have its day."""
    told = toy.points
    monkeypatch.setattr(
        toy,
        "points",
        lambda *of: [re.sub(rb'"received_at":[^,]+', b'"received_at":null', one) for one in told(*of)],
    )
    night(layout, settings, 0)
    promoted = night(layout, settings, 1)
    second, third = toy.days(3)[1:]
    assert promoted.verdict == "promoted"
    assert promoted.champion.since is not None
    assert day_of(promoted.champion.since) == second
    later = night(layout, settings, 2, challenger=toy.publish(layout, "worse", "coder", {}))
    counts = [
        fresh_questions(layout, since, third, Promotion()).height for since in (None, promoted.champion.since)
    ]
    assert later.figures["questions"] == counts[1] < counts[0] / 2


def test_a_rejected_challenger_is_not_promoted_by_a_later_step(layout: Layout, settings: Config) -> None:
    """Dagster judges in one step and promotes in another."""
    night(layout, settings, 0)
    judged = night(layout, settings, 1, challenger=toy.publish(layout, "worse", "coder", {}))
    assert judged.verdict == "rejected"
    assert promote_passed(layout, settings, toy.CRAFT, by="tests") is None
    assert Registry(layout, toy.verify).champion() == judged.champion


def test_a_night_that_runs_late_sees_no_question_of_a_later_day(layout: Layout, settings: Config) -> None:
    for day in toy.days(3):
        toy.make_day(layout, settings, day, 60)
    first, second, _ = toy.days(3)
    found = fresh_questions(layout, None, second, Promotion())
    moments = found["received_at"].to_list()
    assert {day_of(moment) for moment in moments} == {first, second}
    for since in moments:  # later points of the same day are as fresh as the next day's
        fresh = fresh_questions(layout, since, second, Promotion())["received_at"].to_list()
        assert fresh == [moment for moment in moments if moment > since]


def test_a_champion_ages_with_the_questions_received_since_those_it_rests_on(
    layout: Layout, settings: Config
) -> None:
    """With a margin of 1, any challenger replaces the champion from that age on, and none does before."""
    short = Promotion(max_age_days=3, age_margin=1.0, max_slice_loss=1.0, min_questions=20)
    aging = settings.model_copy(update={"promotion": short})
    champion = night(layout, aging, 0).champion
    assert champion.since is not None  # 20 test questions suffice for the first challenger
    worse = toy.publish(layout, "worse", "coder", {})
    young = night(layout, aging, 2, challenger=worse)
    assert (young.verdict, young.figures["aged"]) == ("rejected", False)
    old = night(layout, aging, 4, challenger=worse)
    assert (old.verdict, old.figures["aged"], old.champion.version) == ("promoted", True, "worse")
    assert old.figures["champion_age_days"] == (old.figures["newest"] - champion.since) / 86_400


def test_a_first_champion_ages_with_the_questions_received_since_the_end_of_its_data(
    layout: Layout, settings: Config
) -> None:
    """As in a replay or a backfill, which puts it into service months after those data."""
    night(layout, settings, 0, challenger=toy.publish(layout, "worse", "coder", {}))
    later = night(layout, settings, 2, challenger="worse")
    assert later.champion.since is None
    end = first_second(toy.days(2)[-1])
    assert later.figures["champion_age_days"] == (later.figures["newest"] - end) / 86_400 > 1


def test_a_night_that_runs_again_spends_no_further_look(layout: Layout, settings: Config) -> None:
    night(layout, settings, 0)
    worse = toy.publish(layout, "worse", "coder", {})
    judged = night(layout, settings, 1, challenger=worse)
    again = night(layout, settings, 1, challenger=worse)
    assert (judged.verdict, again.verdict) == ("rejected", "rejected")
    assert again.figures == judged.figures
    registry = Registry(layout, toy.verify)
    assert registry.looks(judged.champion).taken == 1
    assert len(registry.history()) == 3


def test_a_night_without_a_verdict_is_judged_by_the_current_settings_when_it_runs_again(
    layout: Layout, settings: Config
) -> None:
    patient = settings.model_copy(update={"promotion": Promotion(min_questions=10_000)})
    first, again = (night(layout, patient, 0) for _ in range(2))
    assert (first.verdict, again.verdict, again.figures) == ("not_yet", "not_yet", first.figures)
    registry = Registry(layout, toy.verify)
    assert len(registry.judgements(first.champion)) == 1
    hasty = night(layout, settings.model_copy(update={"promotion": Promotion(min_questions=20)}), 0)
    assert (hasty.verdict, hasty.figures["look"]) == ("promoted", 1)


def test_a_promotion_that_was_killed_after_the_judgement_is_finished_by_the_next_run(
    layout: Layout, settings: Config
) -> None:
    night(layout, settings, 0)
    registry = Registry(layout, toy.verify)
    before = registry.pointer.read_bytes()
    log = registry.log.read_bytes()
    promoted = night(layout, settings, 1)
    lines = registry.log.read_bytes()[len(log) :].splitlines(keepends=True)
    assert len(lines) == 2
    registry.pointer.write_bytes(before)
    registry.log.write_bytes(log + lines[0])
    again = night(layout, settings, 1)
    assert (again.verdict, again.champion.version) == ("promoted", promoted.challenger)
    assert registry.log.read_bytes().count(b'"judged"') == 2


def test_the_champion_is_no_challenger_of_itself(layout: Layout, settings: Config) -> None:
    night(layout, settings, 0)
    promoted = night(layout, settings, 1)
    again = night(layout, settings, 1, challenger=promoted.challenger)
    assert (again.verdict, again.champion) == ("same", promoted.champion)


def test_without_automatic_promotion_a_challenger_is_only_judged(layout: Layout, settings: Config) -> None:
    by_hand = settings.model_copy(update={"promotion": Promotion(automatic=False)})
    night(layout, by_hand, 0)
    judged = night(layout, by_hand, 1)
    assert judged.verdict == "would_promote"
    assert judged.champion.version.startswith("single-")


def test_a_champion_that_asks_a_model_that_is_gone_is_judged_by_the_default_model_in_its_place(
    layout: Layout, settings: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gateways answer in the same way.

    Otherwise no question that the champion gave to that model would ever count again.
    """
    night(layout, settings, 0)
    champion = night(layout, settings, 1).champion
    assert toy.load(layout.router(champion.version)).rules["code"] == "coder"
    monkeypatch.setattr(toy, "MODELS", ("all-round", "coder-2"))
    monkeypatch.setattr(toy, "COSTS", {"all-round": 0.01, "coder-2": 0.002})
    skill = {(model.replace("coder", "coder-2"), kind): one for (model, kind), one in toy.SKILL.items()}
    monkeypatch.setattr(toy, "SKILL", skill)
    renamed = settings.model_copy(
        update={"models": {"all-round": Model(category="general"), "coder-2": Model(category="code")}}
    )
    able = toy.publish(layout, "able", "all-round", {"code": "coder-2"})
    assert night(layout, renamed, 2, challenger=able).verdict == "not_yet"
    promoted = night(layout, renamed, 3, challenger=able)
    assert (promoted.verdict, promoted.champion.version) == ("promoted", "able")
    assert (
        "the champion chooses coder, not in models any more: the default model all-round" in promoted.reason
    )
