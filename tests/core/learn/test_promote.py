"""Which challengers replace the champion: the rule itself, and how often it errs over many nights."""

import numpy as np
import pytest
from numpy.typing import NDArray

from flywheel_core.config_promotion import Promotion
from flywheel_core.learn.gains import Gains
from flywheel_core.learn.promote import Judgement, judge
from flywheel_core.learn.promotion_log import Looks

NIGHTS = 30
SETTINGS = Promotion()


def gains(values: NDArray[np.float64], slices: list[str] | None = None, per_day: int | None = None) -> Gains:
    """Return gains that came at `per_day` questions a day; without it they have no times of receipt."""
    received = None if per_day is None else np.arange(len(values), dtype=np.float64) * 86_400 / per_day
    return Gains(values, slices or ["general"] * len(values), received=received)


def drawn(random: np.random.Generator, count: int, better: float, worse: float) -> NDArray[np.float64]:
    """Return `count` gains of 1, -1 or 0: 1 with probability `better`, -1 with probability `worse`."""
    return random.choice([1.0, -1.0, 0.0], count, p=[better, worse, 1 - better - worse])


def promoted_within(values: NDArray[np.float64], per_night: int, settings: Promotion = SETTINGS) -> bool:
    """Return whether nightly looks at a growing sample ever promote."""
    looks = Looks()
    for night in range(1, len(values) // per_night + 1):
        verdict = judge(gains(values[: night * per_night]), looks, settings)
        if verdict.outcome == "promoted":
            return True
        if verdict.look is not None:
            looks = Looks(verdict.look, verdict.questions)
    return False


def test_too_few_questions_are_no_verdict_and_cost_no_look() -> None:
    verdict = judge(gains(np.ones(199)), Looks(), SETTINGS)
    assert (verdict.outcome, verdict.look, verdict.next_look) == ("not_yet", None, 200)


def test_a_clear_gain_is_promoted_with_its_figures() -> None:
    values = drawn(np.random.default_rng(1), 1_000, 0.2, 0.05)
    verdict = judge(gains(values), Looks(), SETTINGS)
    assert verdict.outcome == "promoted"
    assert verdict.mean == pytest.approx(values.mean())
    assert verdict.lower is not None and verdict.mean is not None
    assert 0 < verdict.lower < verdict.mean
    assert verdict.look == 1
    assert verdict.differing == np.count_nonzero(values)


def test_the_gain_has_to_exceed_what_is_asked_for() -> None:
    values = drawn(np.random.default_rng(1), 1_000, 0.2, 0.05)
    assert judge(gains(values), Looks(), Promotion(min_gain=0.2)).outcome == "rejected"


def test_a_clear_loss_is_rejected() -> None:
    assert judge(gains(drawn(np.random.default_rng(1), 1_000, 0.05, 0.2)), Looks(), SETTINGS).outcome == (
        "rejected"
    )


def test_a_twin_of_the_champion_is_rejected_without_a_look() -> None:
    verdict = judge(gains(np.zeros(500)), Looks(), SETTINGS)
    assert (verdict.outcome, verdict.look) == ("rejected", None)


def test_the_next_look_waits_for_more_questions() -> None:
    """A look at nearly the same questions would spend part of the error level for nothing."""
    verdict = judge(gains(np.ones(1_100)), Looks(taken=3, last_questions=1_000), SETTINGS)
    assert (verdict.outcome, verdict.next_look) == ("not_yet", 1_200)
    assert judge(gains(np.ones(1_200)), Looks(taken=3, last_questions=1_000), SETTINGS).look == 4


def test_later_looks_ask_for_more() -> None:
    values = drawn(np.random.default_rng(4), 800, 0.12, 0.06)
    bounds = [judge(gains(values), Looks(taken=taken), SETTINGS).lower for taken in (0, 1, 5, 30)]
    assert bounds == sorted(bounds, key=lambda bound: bound or 0, reverse=True)
    assert len(set(bounds)) == len(bounds)


def with_losing_slice(size: int) -> Gains:
    random = np.random.default_rng(5)
    values = np.concatenate([drawn(random, 2_000, 0.25, 0.02), np.full(size, -0.6)])
    return gains(values, ["math"] * 2_000 + ["medicine"] * size)


def test_a_slice_that_loses_stops_a_promotion_and_is_named() -> None:
    verdict = judge(with_losing_slice(120), Looks(), SETTINGS)
    assert verdict.outcome == "rejected"
    assert verdict.lower is not None and verdict.lower > 0
    assert "medicine" in verdict.reason
    assert [(one.category, one.questions, one.counts) for one in verdict.slices] == [
        ("math", 2_000, True),
        ("medicine", 120, True),
    ]


def test_a_small_slice_is_shown_and_stops_nothing() -> None:
    verdict = judge(with_losing_slice(99), Looks(), SETTINGS)
    assert verdict.outcome == "promoted"
    assert [one.counts for one in verdict.slices] == [True, False]
    assert judge(with_losing_slice(100), Looks(), SETTINGS).outcome == "rejected"
    alone = judge(with_losing_slice(1), Looks(), SETTINGS)
    assert alone.outcome == "promoted"
    assert (alone.slices[1].questions, alone.slices[1].lower) == (1, None)


def test_a_champion_past_its_age_is_replaced_by_one_that_is_not_worse_and_the_reason_says_so() -> None:
    random = np.random.default_rng(6)
    values = np.where(random.random(4_000) < 0.004, random.choice([-1.0, 1.0], 4_000), 0.0)

    def verdict(age: float) -> Judgement:
        return judge(gains(values), Looks(), SETTINGS, champion_age_days=age)

    assert verdict(89.9).outcome == "rejected"
    assert verdict(90).outcome == "promoted"
    assert verdict(90).aged
    assert "past its age" in verdict(90).reason


def test_nothing_is_decided_on_fewer_of_the_newest_questions_than_the_minimum() -> None:
    values = drawn(np.random.default_rng(4), 2_000, 0.2, 0.05)
    settings = Promotion(window_days=1, window_questions=20, min_questions=300)
    assert judge(gains(values, per_day=80), Looks(), settings).recent_questions == 300


def test_a_rare_category_is_looked_at_on_its_newest_questions() -> None:
    """A category with 2 % of the questions has too few in the last 14 days to count.

    All the days since the promotion hold enough.
    """
    random = np.random.default_rng(3)
    names = ["rare" if number % 50 == 0 else "general" for number in range(6_000)]
    rare = np.array([name == "rare" for name in names])
    values = np.where(rare, -1.0, drawn(random, len(names), 0.2, 0.05))
    verdict = judge(gains(values, names, per_day=80), Looks(), SETTINGS)
    assert [(one.category, one.questions, one.counts) for one in verdict.slices] == [
        ("general", 1_099, True),
        ("rare", 100, True),
    ]
    assert verdict.outcome == "rejected"
    assert "category rare may lose too much" in verdict.reason
    mended = np.where(rare & (np.arange(len(names)) >= 1_000), 1.0, values)
    assert judge(gains(mended, names, per_day=80), Looks(), SETTINGS).outcome == "promoted", (
        "the oldest do not count"
    )


def with_rare_category(newest: list[float]) -> Gains:
    """Return a clear gain, and a category with 3 % of the questions in which the routers differ but are equal.

    newest: the gains of the last 100 questions of that category, repeated.
    """
    names = ["rare" if number % 30 == 0 else "general" for number in range(20_000)]
    rare = np.flatnonzero([name == "rare" for name in names])
    values = drawn(np.random.default_rng(3), len(names), 0.2, 0.05)
    values[rare] = np.resize([1.0, -1.0, 0.0, 0.0, 0.0], len(rare))
    values[rare[-100:]] = np.resize(newest, 100)
    return gains(values, names, per_day=80)


def test_a_rare_category_does_not_stop_a_promotion_for_want_of_new_questions() -> None:
    """A hundred questions cannot show that nothing is lost where scores often differ; all 667 can."""
    verdict = judge(with_rare_category([1.0, -1.0, 0.0, 0.0, 0.0]), Looks(), SETTINGS)
    assert verdict.outcome == "promoted"
    assert [(one.category, one.questions) for one in verdict.slices] == [("general", 1_084), ("rare", 667)]
    lately = judge(with_rare_category([-1.0, -1.0, 1.0, 0.0, 0.0]), Looks(), SETTINGS)
    assert lately.outcome == "rejected", "the newest questions lose more than is allowed"
    assert "category rare may lose too much" in lately.reason


def test_gains_and_slices_belong_together() -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        Gains(np.zeros(3), ["math"])


def equal_routers(random: np.random.Generator, count: int, differing: float) -> NDArray[np.float64]:
    """Return the gains between two routers that choose differently for a share of the questions.

    All models are equally good.
    """
    scores = (random.random((count, 3)) < random.uniform(0.3, 0.9)).astype(float)
    champion = random.integers(0, 3, count)
    elsewhere = (champion + random.integers(1, 3, count)) % 3
    challenger = np.where(random.random(count) < differing, elsewhere, champion)
    rows = np.arange(count)
    gained: NDArray[np.float64] = scores[rows, challenger] - scores[rows, champion]
    return gained


def test_of_a_thousand_pairs_of_equal_routers_at_most_one_in_twenty_is_promoted_in_thirty_nights() -> None:
    random = np.random.default_rng(2026)
    promoted = sum(
        promoted_within(equal_routers(random, NIGHTS * 50, (0.1, 0.3, 1.0)[pair % 3]), 50)
        for pair in range(1_000)
    )
    assert promoted <= 50


def test_routers_that_learned_from_shuffled_labels_are_not_promoted() -> None:
    """They fit chance in 30 small cells as well as possible, without any safeguard of their own."""
    random = np.random.default_rng(2030)
    promoted = 0
    for _ in range(200):
        cells, scores = random.integers(0, 30, 2_000), (random.random((2_000, 4)) < 0.6).astype(float)
        train, test = slice(0, 1_000), slice(1_000, None)
        single = int(scores[train].mean(axis=0).argmax())
        learned = np.array([scores[train][cells[train] == cell].mean(axis=0).argmax() for cell in range(30)])
        asked = scores[test]
        found = asked[np.arange(1_000), learned[cells[test]]] - asked[:, single]
        promoted += judge(gains(found), Looks(), SETTINGS).outcome == "promoted"
    assert promoted <= 11


def test_equal_routers_stay_unpromoted_when_every_night_has_a_new_challenger() -> None:
    """The challengers of different nights have nothing in common: each is one more chance to err."""
    random = np.random.default_rng(2027)
    promoted = 0
    for _ in range(300):
        looks = Looks()
        for night in range(1, NIGHTS + 1):
            verdict = judge(gains(drawn(random, night * 50, 0.1, 0.1)), looks, SETTINGS)
            if verdict.outcome == "promoted":
                promoted += 1
                break
            if verdict.look is not None:
                looks = Looks(verdict.look, verdict.questions)
    assert promoted <= 15


def test_equal_routers_stay_unpromoted_when_questions_come_in_bunches() -> None:
    """Five questions at a time gain or lose together, with a correlation of 0.3."""
    random = np.random.default_rng(2028)
    promoted = 0
    for _ in range(100):
        looks = Looks()
        for night in range(1, NIGHTS + 1):
            common, own = (drawn(random, count, 0.1, 0.1) for count in (night * 10, night * 50))
            values = np.where(random.random(night * 50) < 0.3**0.5, np.repeat(common, 5), own)
            came = np.column_stack([np.arange(night * 50) // 5, np.arange(night * 50) // 50])
            found = Gains(values, ["general"] * len(values), alike=came)
            verdict = judge(found, looks, SETTINGS)
            if verdict.outcome == "promoted":
                promoted += 1
                break
            if verdict.look is not None:
                looks = Looks(verdict.look, verdict.questions)
    assert promoted <= 5


def test_a_router_with_rare_total_losses_is_promoted_no_more_often_than_others() -> None:
    random = np.random.default_rng(2028)
    promoted = sum(
        promoted_within(random.choice([0.05, -1.0, 0.0], 1_500, p=[0.5, 0.025, 0.475]), 50)
        for _ in range(300)
    )
    assert promoted <= 15


def test_a_gain_of_five_points_is_found_within_fifteen_hundred_questions() -> None:
    """Scores are right or wrong, and the routers' scores differ on 15 questions of 100.

    This holds for nightly looks too.
    """
    random = np.random.default_rng(2029)
    at_once = nightly = 0
    for _ in range(200):
        values = drawn(random, 1_500, 0.10, 0.05)
        at_once += judge(gains(values), Looks(), SETTINGS).outcome == "promoted"
        nightly += promoted_within(values, 50)
    assert at_once >= 180
    assert nightly >= 180


def days_until_replaced(since_promotion: int, per_day: int, seed: int) -> int:
    """Return after how many days a champion is replaced once the models have changed, or 61 if it never is.

    The models change `since_promotion` days after the promotion. Challengers learn from the changed models:
    they are ten points worse than the champion on questions from before the change, and ten points better on
    those after it. There is a look every night.
    """
    random = np.random.default_rng(seed)
    same = drawn(
        random, since_promotion * per_day, 0.02, 0.02
    )  # challengers that learned from the models as they were
    looks = Looks()
    for day in range(1, since_promotion + 1):
        found = gains(same[: day * per_day], per_day=per_day)
        looks = after(judge(found, looks, SETTINGS), looks, found)
    before, later = drawn(random, len(same), 0.05, 0.15), drawn(random, 60 * per_day, 0.15, 0.05)
    for day in range(1, 61):
        found = gains(np.concatenate([before, later[: day * per_day]]), per_day=per_day)
        verdict = judge(found, looks, SETTINGS)
        if verdict.outcome == "promoted":
            return day
        looks = after(verdict, looks, found)
    return 61


def after(verdict: Judgement, looks: Looks, found: Gains) -> Looks:
    """Return the looks as the log would have them after a verdict."""
    if verdict.look is None or verdict.recent_questions is None or found.received is None:
        return looks
    return Looks(verdict.look, verdict.recent_questions, float(found.received.max()))


@pytest.mark.parametrize("tenure", [30, 80, 200])
def test_when_models_change_an_old_champion_is_replaced_as_soon_as_a_young_one(
    tenure: int,
) -> None:
    """Its lead from before does not have to be outweighed first."""
    assert max(days_until_replaced(tenure, 80, seed) for seed in range(3)) <= 21


def test_a_router_that_used_to_gain_and_has_begun_to_lose_is_not_promoted() -> None:
    random = np.random.default_rng(2031)
    values = np.concatenate([drawn(random, 8_000, 0.15, 0.05), drawn(random, 1_400, 0.08, 0.12)])
    verdict = judge(gains(values, per_day=100), Looks(), SETTINGS)
    assert verdict.lower is not None and verdict.lower > 0
    assert (verdict.outcome, verdict.questions, verdict.recent_questions) == ("rejected", 9_400, 1_401)
    assert "on the newest 1401 questions the mean gain is -" in verdict.reason


def test_the_reason_names_the_newest_questions_only_where_they_decide() -> None:
    steady = drawn(np.random.default_rng(1), 6_000, 0.2, 0.05)
    verdict = judge(gains(steady, per_day=80), Looks(), SETTINGS)
    assert (verdict.outcome, verdict.questions) == ("promoted", 6_000)
    assert "newest" not in verdict.reason


def test_the_error_level_is_shared_only_where_there_are_two_bounds() -> None:
    """While all questions fall within the window, the newest are all of them, and there is only one bound."""
    random = np.random.default_rng(2033)
    values = drawn(random, 1_500, 0.15, 0.05)
    verdict = judge(gains(values, per_day=500), Looks(), SETTINGS)
    assert (verdict.questions, verdict.recent_questions) == (1_500, 1_500)
    assert verdict.lower == judge(gains(values), Looks(), SETTINGS).lower


def test_days_with_few_questions_are_looked_at_with_those_before() -> None:
    found = gains(np.tile([1.0, 0.0], 2_000), per_day=10)
    assert judge(found, Looks(), SETTINGS).recent_questions == SETTINGS.window_questions


def test_looks_go_on_when_the_newest_questions_grow_no_more() -> None:
    """A look is due when a fifth of the newest questions came after the newest one of the last look."""
    found = gains(np.ones(20_000), per_day=100)
    assert found.received is not None
    last = judge(found, Looks(4, 1_400, float(found.received[-300])), SETTINGS)
    assert last.look == 5
    early = judge(found, Looks(4, 1_400, float(found.received[-200])), SETTINGS)
    assert (early.outcome, early.next_look) == ("not_yet", 20_000 + 280 - 199)


def test_two_bounds_promote_equal_routers_no_more_often_than_one() -> None:
    """On 150 nights of 40 test questions each, a new challenger is judged.

    At a true rate of 5 %, more than 18 promotions in 200 trials happen about once in 200 runs.
    """
    random, promoted = np.random.default_rng(2032), 0
    looks, due = Looks(), []
    for night in range(1, 151):
        found = gains(np.tile([1.0, -1.0], night * 20), per_day=40)  # gains do not decide when to look
        verdict = judge(found, looks, SETTINGS)
        if verdict.look is not None:
            due.append((night, looks))
        looks = after(verdict, looks, found)
    for _ in range(200):
        promoted += any(
            judge(gains(drawn(random, night * 40, 0.1, 0.1), per_day=40), taken, SETTINGS).outcome
            == "promoted"
            for night, taken in due
        )
    assert len(due) > 20
    assert promoted <= 18
