"""How often the rule of promotion errs, and how soon it finds a gain, over many nights."""

import numpy as np
import pytest
from numpy.typing import NDArray

from flywheel_core.learn.gains import Gains
from flywheel_core.learn.promote import Judgement, judge
from flywheel_core.learn.promotion_log import Looks
from tests.core.learn.promoting import NIGHTS, SETTINGS, drawn, gains, promoted_within


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
