"""Which challengers replace the champion."""

from dataclasses import fields

import numpy as np
import pytest

from flywheel_core.config_promotion import Promotion
from flywheel_core.learn.bounds import lower_bound
from flywheel_core.learn.gains import Gains
from flywheel_core.learn.promote import Judgement, judge
from flywheel_core.learn.promotion_log import Looks
from tests.core.learn.promoting import SETTINGS, drawn, gains


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


def test_a_part_of_the_questions_keeps_all_that_is_known_of_them() -> None:
    numbers = np.arange(4.0)
    found = Gains(
        numbers,
        ["a", "b", "c", "d"],
        weights=numbers + 1,
        received=numbers * 10,
        differing=np.array([[0.0, 1.0]]),
        alike=np.column_stack([np.arange(4), np.arange(4)]),
    )
    part = found.pick(np.array([3, 1]))
    for of in (found, part):
        assert [one.name for one in fields(Gains) if getattr(of, one.name) is None] == []
    assert part.gains.tolist() == [3.0, 1.0]
    assert part.slices == ["d", "b"]
    assert part.weights is not None and part.weights.tolist() == [4.0, 2.0]
    assert part.received is not None and part.received.tolist() == [30.0, 10.0]
    assert part.differing is found.differing
    assert part.alike is not None and part.alike.tolist() == [[3, 3], [1, 1]]


def test_the_known_share_is_of_the_questions_since_the_oldest_entry() -> None:
    differing = np.array([[9.0, 0.0], [10.0, 0.0], [20.0, 1.0]])
    found = Gains(np.zeros(2), ["a", "a"], received=np.array([20.0, 10.0]), differing=differing)
    assert found.told() == 0.5


def test_gains_beyond_one_widen_what_the_worst_may_be() -> None:
    """Prices on cost and time may make a loss larger than 1."""
    values = np.tile([0.0, 3.0, -3.0, 1.0], 50)
    assert gains(values).lower(0.05) == lower_bound(values, 0.05, worst=-3.0)
    weighed = Gains(np.tile([0.5, 0.1], 100), ["a"] * 200, weights=np.tile([1.0, 3.0], 100))
    assert weighed.lower(0.05) == lower_bound(weighed.shares(), 0.05, worst=-1.5)


def test_gains_and_slices_belong_together() -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        Gains(np.zeros(3), ["math"])
