"""Who takes the champion's place: the rule itself, and how often it errs over many nights."""

import numpy as np
import pytest
from numpy.typing import NDArray

from flywheel_core.config_promotion import Promotion
from flywheel_core.learn.promote import Gains, Judgement, judge
from flywheel_core.learn.promotion_log import Looks

NIGHTS = 30
SETTINGS = Promotion()


def gains(values: NDArray[np.float64], slices: list[str] | None = None) -> Gains:
    return Gains(values, slices or ["general"] * len(values))


def drawn(random: np.random.Generator, count: int, better: float, worse: float) -> NDArray[np.float64]:
    """`count` gains of 1, -1 or 0 with the chances given."""
    return random.choice([1.0, -1.0, 0.0], count, p=[better, worse, 1 - better - worse])


def promoted_within(values: NDArray[np.float64], per_night: int, settings: Promotion = SETTINGS) -> bool:
    """Whether nightly looks at a growing sample ever promote."""
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
    """A look at nearly the same questions would spend error level for nothing."""
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


def test_a_champion_past_its_age_is_replaced_by_one_that_is_not_worse_and_the_reason_says_so() -> None:
    random = np.random.default_rng(6)
    values = np.where(random.random(4_000) < 0.004, random.choice([-1.0, 1.0], 4_000), 0.0)

    def verdict(age: float) -> Judgement:
        return judge(gains(values), Looks(), SETTINGS, champion_age_days=age)

    assert verdict(89.9).outcome == "rejected"
    assert verdict(90).outcome == "promoted"
    assert verdict(90).aged
    assert "past its age" in verdict(90).reason


def test_gains_and_slices_belong_together() -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        Gains(np.zeros(3), ["math"])


def equal_routers(random: np.random.Generator, count: int, differing: float) -> NDArray[np.float64]:
    """The gains between two routers that choose different models for a share of the questions, all equally good."""
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
    """They fit chance in 30 small cells as well as it can be fitted, without any guard of their own."""
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
    """Nothing is shared between the nights' challengers: each is one more chance to err."""
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


def test_a_router_with_rare_total_losses_is_promoted_no_more_often_than_others() -> None:
    random = np.random.default_rng(2028)
    promoted = sum(
        promoted_within(random.choice([0.05, -1.0, 0.0], 1_500, p=[0.5, 0.025, 0.475]), 50)
        for _ in range(300)
    )
    assert promoted <= 15


def test_a_gain_of_five_points_is_found_within_fifteen_hundred_questions() -> None:
    """Scores right or wrong; the routers get a different score on 15 questions of 100. Also when looked at every night."""
    random = np.random.default_rng(2029)
    at_once = nightly = 0
    for _ in range(200):
        values = drawn(random, 1_500, 0.10, 0.05)
        at_once += judge(gains(values), Looks(), SETTINGS).outcome == "promoted"
        nightly += promoted_within(values, 50)
    assert at_once >= 180
    assert nightly >= 180
