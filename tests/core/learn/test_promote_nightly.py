"""Nights on real tables: the first champion, challengers judged on test questions that came later, re-runs."""

from collections import Counter
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel_core.config import Config, Model
from flywheel_core.config_promotion import Promotion
from flywheel_core.errors import StorageError
from flywheel_core.lake.layout import Layout, day_of
from flywheel_core.lake.schemas import TABLES
from flywheel_core.learn.evidence import fresh_questions, gains_of
from flywheel_core.learn.nightly import Night, best_single_champion, promote_passed, run_night
from flywheel_core.learn.promote import judge
from flywheel_core.learn.promotion_log import Looks
from flywheel_core.learn.registry import Registry
from flywheel_core.learn.settings import Learning
from tests.core.learn import toy

PER_DAY = 600


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    return toy.config(tmp_path)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def night(layout: Layout, settings: Config, number: int, challenger: str | None = None) -> Night:
    """The `number`-th night, from 0 on: its data arrive, a challenger is trained unless given, and judged."""
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


def test_until_something_learned_is_promoted_the_model_that_is_best_so_far_serves(
    layout: Layout, settings: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What few questions said first does not stay; a promoted router does, whatever single model is best."""
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
    assert again is None  # a day that runs again, after later ones
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


def test_what_was_rejected_is_promoted_by_no_later_step(layout: Layout, settings: Config) -> None:
    """Dagster judges in one step and promotes in another."""
    night(layout, settings, 0)
    judged = night(layout, settings, 1, challenger=toy.publish(layout, "worse", "coder", {}))
    assert judged.verdict == "rejected"
    assert promote_passed(layout, settings, toy.CRAFT, by="tests") is None
    assert Registry(layout, toy.verify).champion() == judged.champion


def test_a_night_that_is_made_up_for_sees_no_question_of_a_later_day(
    layout: Layout, settings: Config
) -> None:
    for day in toy.days(3):
        toy.make_day(layout, settings, day, 60)
    first, second, _ = toy.days(3)
    found = fresh_questions(layout, None, second, Promotion())
    moments = found["received_at"].to_list()
    assert {day_of(moment) for moment in moments} == {first, second}
    for since in moments:  # what came later on the same day is as fresh as what came the day after
        fresh = fresh_questions(layout, since, second, Promotion())["received_at"].to_list()
        assert fresh == [moment for moment in moments if moment > since]


def write_questions(layout: Layout, day: date, count: int) -> None:
    """`count` test questions of a day, the same ones every day, as a table of training examples."""
    midnight = (day - date(1970, 1, 1)).days * 86_400.0
    rows = [
        {"text": f"question {'ab'[at % 2] * (at + 1)}", "split": "test", "received_at": midnight + at}
        for at in range(count)
    ]
    path = layout.table("training_examples", day)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=TABLES["training_examples"]), path)


def test_a_night_costs_no_more_the_longer_a_champion_serves(layout: Layout) -> None:
    """Days of before the newest `max_questions` are not even read, and a busy day leaves room for the others."""
    few = Promotion(max_questions=1_000, window_days=2)
    first, second, third, fourth = toy.days(4)
    for day, count in zip((second, third, fourth), (600, 600, 100), strict=True):
        write_questions(layout, day, count)
    damaged = layout.table("training_examples", first)
    damaged.write_bytes(b"not to be read")
    found = fresh_questions(layout, None, fourth, few)
    moments = found["received_at"].to_list()
    assert moments == sorted(moments)
    assert Counter(day_of(moment) for moment in moments) == {fourth: 100, third: 500, second: 400}
    assert found.equals(fresh_questions(layout, None, fourth, few))
    with pytest.raises(StorageError, match="training_examples"):
        fresh_questions(layout, None, fourth, Promotion(max_questions=2_000, window_days=2))


def test_alike_questions_are_drawn_together_from_whichever_part_of_a_day(layout: Layout) -> None:
    days = toy.days(3)
    for day in days:
        write_questions(layout, day, 900)
    found = fresh_questions(layout, None, days[-1], Promotion(max_questions=1_000))
    oldest, middle, newest = (
        found.filter(pl.col("received_at").map_elements(day_of, return_dtype=pl.Date) == day) for day in days
    )
    assert [rows.height for rows in (oldest, middle, newest)] == [332, 334, 334]
    assert set(oldest["text"]) < set(middle["text"]) == set(newest["text"])
    places = newest["received_at"] % 86_400
    assert places.min() < 100 < 800 < places.max()  # type: ignore[operator]  # a column of floats


def test_a_champion_grows_old_with_the_questions_since_those_that_it_rests_on(
    layout: Layout, settings: Config
) -> None:
    """With a margin of 1 anybody replaces it from then on, and nobody before."""
    short = Promotion(max_age_days=3, age_margin=1.0, max_slice_loss=1.0, min_questions=20)
    aging = settings.model_copy(update={"promotion": short})
    champion = night(layout, aging, 0).champion
    assert champion.since is not None  # 20 test questions were enough for the first challenger
    worse = toy.publish(layout, "worse", "coder", {})
    young = night(layout, aging, 2, challenger=worse)
    assert (young.verdict, young.figures["aged"]) == ("rejected", False)
    old = night(layout, aging, 4, challenger=worse)
    assert (old.verdict, old.figures["aged"], old.champion.version) == ("promoted", True, "worse")
    assert old.figures["champion_age_days"] == (old.figures["newest"] - champion.since) / 86_400


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


def test_a_night_that_was_not_yet_is_judged_by_the_settings_of_now_when_it_runs_again(
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
    """Gateways answer so. Without it no question that the champion gave to that model would ever count again."""
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


def row(text: str, *outcomes: tuple[str, float | None, bool]) -> dict[str, object]:
    """A question with the (model, score, failed) of those who were asked."""
    fields = ("model", "score", "failed", "cost", "latency_ms")
    return {
        "text": text,
        "outcomes": [dict(zip(fields, (*one, 2.0, 500.0), strict=True)) for one in outcomes],
    }


def test_questions_that_differ_in_case_white_space_and_digits_are_one_entry() -> None:
    """The bound takes entries for independent; questions made from one template are not."""
    texts = ["Solve x + 12 = 40", "solve  x + 70 = 99", "SOLVE X+10=21", "another"]
    gained = [0.3, 0.6, 0.0, 0.2]
    questions = pl.DataFrame(
        [
            row(text, ("a", 0.1, False), ("b", 0.1 + gain, False))
            for text, gain in zip(texts, gained, strict=True)
        ]
    )
    found = gains_of(questions, toy.ToyRouter("a", "a", {}), toy.ToyRouter("b", "b", {}), Learning())
    assert found.gains == pytest.approx([0.3, 0.2])
    assert list(found.slices) == ["of a", "of a"]


def test_a_model_that_gives_up_loses_and_a_scorer_that_fails_counts_for_nobody(layout: Layout) -> None:
    questions = pl.DataFrame(
        [
            row("gave up", ("a", None, True), ("b", 0.6, False)),
            row("not scored", ("a", None, False), ("b", 1.0, False)),
            row("not asked", ("b", 1.0, False)),
            row("asked twice", ("a", 0.2, False), ("b", 0.4, False)),
            row("asked twice", ("a", 0.2, False), ("b", 0.8, False)),
        ]
    )
    only = {name: toy.ToyRouter(name, name, {}) for name in "ab"}
    found = gains_of(questions, only["a"], only["b"], Learning())
    assert found.gains == pytest.approx([0.6, 0.4])
    assert list(found.slices) == ["of a", "of a"]
    dear = gains_of(questions, only["a"], only["b"], Learning(failure_score=0.5, lambda_cost=0.1))
    assert dear.gains[0] == pytest.approx(0.1)


def chosen_only(since: float = 0.0) -> pl.DataFrame:
    """1,000 questions, `a` asked always, `b` only where the champion chose it: on the fifth about code, from `since` on."""
    letters, rows = "abcdefghij", []
    for number in range(1_000):
        code, name = number % 5 == 0, "".join(letters[int(digit)] for digit in f"{number:04}")
        asked = [("a", 0.4 if code else 0.8), *([("b", 0.9)] if code and number >= since else [])]
        fields = ("model", "score", "failed", "cost", "latency_ms", "asked")
        outcomes = [dict(zip(fields, (*one, False, 0.0, 1.0, 1.0), strict=True)) for one in asked]
        kind = ("code odd" if number % 50 == 0 else "code") if code else "story"
        rows.append(
            {"text": f"{kind.replace(' ', '_')} {name}", "outcomes": outcomes, "received_at": float(number)}
        )
    return pl.DataFrame(rows)


def test_a_model_that_was_asked_only_where_it_is_good_is_promoted_for_nothing_else() -> None:
    """The few questions that are known would speak for asking it always; on the others nobody knows."""
    champion = toy.ToyRouter("now", "a", {"code": "b"})
    always = gains_of(chosen_only(), champion, toy.ToyRouter("all", "b", {}), Learning())
    assert always.gains.min() >= 0 and always.gains.mean() > 0.04
    verdict = judge(always, Looks(), Promotion(min_slice_questions=1_000))
    assert (verdict.outcome, verdict.look) == ("not_yet", None)
    assert "only 2% are known" in verdict.reason
    more = gains_of(
        chosen_only(), champion, toy.ToyRouter("more", "a", {"code": "b", "code_odd": "b"}), Learning()
    )
    assert judge(more, Looks(), Promotion()).outcome == "promoted"


def test_questions_from_before_a_model_was_there_do_not_count_as_unknown() -> None:
    single, challenger = toy.ToyRouter("a", "a", {}), toy.ToyRouter("b", "a", {"code": "b", "code_odd": "b"})
    found = gains_of(chosen_only(since=700), single, challenger, Learning())
    assert found.told() == 1.0
    assert judge(found, Looks(), Promotion()).outcome == "promoted"


def by_chance(loss: float) -> pl.DataFrame:
    """4,000 questions as `production.baseline` collects them: `a` always, one of four others drawn, each a quarter of the
    time. On a fifth of them, those about code, `b` scores `loss` less than `a`."""
    rows = []
    letters = "abcdefghij"
    for number in range(4_000):
        name = "".join(letters[int(digit)] for digit in f"{number:04}")
        drawn = "bcde"[number // 5 % 4]
        asked = [("a", 0.8, 1.0), (drawn, 0.8 - loss, 0.25)]
        outcomes = [
            {"model": model, "score": score, "failed": False, "cost": 0.0, "latency_ms": 1.0, "asked": share}
            for model, score, share in asked
        ]
        rows.append({"text": f"{'story' if number % 5 else 'code'} {name}", "outcomes": outcomes})
    return pl.DataFrame(rows)


def test_a_question_of_which_chance_told_stands_for_those_of_which_it_did_not() -> None:
    """Else a loss would seem a quarter of what it is, and pass for no loss once the champion is old."""
    champion, challenger = toy.ToyRouter("a", "a", {}), toy.ToyRouter("b", "a", {"code": "b"})
    found = gains_of(by_chance(0.1), champion, challenger, Learning())
    assert len(found.gains) == 3_400
    assert found.shares().mean() == pytest.approx(-0.02)
    verdict = judge(found, Looks(), Promotion(), champion_age_days=90)
    assert verdict.outcome == "rejected"
    assert verdict.mean == pytest.approx(-0.02)
    assert judge(found, Looks(), Promotion(age_margin=0.03), champion_age_days=90).outcome == "promoted"


def test_a_question_that_came_again_and_again_counts_once_however_seldom_chance_told_of_it() -> None:
    often = by_chance(0.1).head(60).with_columns(pl.lit("code again").alias("text"))
    found = gains_of(
        pl.concat([often, by_chance(0.1)]),
        toy.ToyRouter("a", "a", {}),
        toy.ToyRouter("b", "a", {"code": "b"}),
        Learning(),
    )
    assert found.weights is not None
    assert found.gains[0] == pytest.approx(-0.1)
    assert found.weights[0] == pytest.approx(1.0)
