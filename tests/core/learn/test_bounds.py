"""The lower bound of a mean gain holds at the level asked for, even where Student's t does not."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from flywheel_core.learn.bounds import look_level, lower_bound

ZERO_MEAN = {
    "as often better as worse": ([1.0, -1.0, 0.0], [0.05, 0.05, 0.9]),
    "seldom different": ([1.0, -1.0, 0.0], [0.015, 0.015, 0.97]),
    "little gains and rare total losses": ([0.05, -1.0, 0.0], [0.5, 0.025, 0.475]),
    "nearly always a trifle better": ([0.01, -0.99], [0.99, 0.01]),
    "rare large gains": ([1.0, -0.05, 0.0], [0.025, 0.5, 0.475]),
}


@pytest.mark.parametrize("case", ZERO_MEAN)
@pytest.mark.parametrize("level", [0.03, 0.005])
def test_a_router_that_is_no_better_is_above_zero_no_more_often_than_the_level(
    case: str, level: float
) -> None:
    values, shares = ZERO_MEAN[case]
    random = np.random.default_rng(7)
    trials = 2_000
    counts = random.multinomial(300, shares, size=trials)
    above = sum(lower_bound(np.repeat(values, count), level) > 0 for count in counts)
    assert stats.binomtest(above, trials, level, alternative="greater").pvalue > 0.01


def test_students_t_would_promote_the_router_with_rare_total_losses() -> None:
    """This is why the bound is not simply Student's: with no loss in the sample, t is certain of a gain."""
    gains = np.full(200, 0.01) + np.random.default_rng(1).normal(0, 1e-4, 200)
    error = gains.std(ddof=1) / np.sqrt(200)
    assert gains.mean() - stats.t.isf(1e-4, 199) * error > 0
    assert lower_bound(gains, 1e-4) < 0


def test_the_bound_is_close_to_students_where_that_is_right() -> None:
    gains = np.random.default_rng(2).normal(0.05, 0.3, 2_000)
    student = gains.mean() - stats.t.isf(0.01, 1_999) * gains.std(ddof=1) / np.sqrt(2_000)
    assert lower_bound(gains, 0.01) == pytest.approx(student, abs=0.003)
    assert lower_bound(gains, 0.01) < student


def test_a_smaller_level_gives_a_lower_bound() -> None:
    gains = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], 400, p=[0.05, 0.8, 0.15])
    bounds = [lower_bound(gains, level) for level in (0.2, 0.05, 0.01, 1e-3, 1e-5)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] < gains.mean()


def test_without_skewness_the_bound_is_students_with_two_worst_cases_more() -> None:
    seen = [1.0, 1.0, 0.0, 0.0]
    whole = np.array([*seen, -1.0, -1.0])
    student = stats.t.interval(0.9, 5, whole.mean(), stats.sem(whole))[0]
    assert lower_bound(seen, 0.05) == pytest.approx(student)


def test_gains_beyond_one_widen_what_the_worst_may_be() -> None:
    gains = np.tile([0.0, 3.0, -3.0, 1.0], 50)
    assert lower_bound(gains, 0.05) == lower_bound(gains, 0.05, worst=-3.0)
    assert lower_bound(gains, 0.05) < lower_bound(gains, 0.05, worst=-1.0)


def test_the_worst_on_every_question_is_the_bound_too() -> None:
    assert lower_bound([-1.0, -1.0, -1.0], 0.05) == -1.0


@pytest.mark.parametrize("gains", [[], [1.0], [0.1, float("nan")], [[0.1, 0.2], [0.3, 0.4]]])
def test_what_is_no_sample_is_refused(gains: list[float]) -> None:
    with pytest.raises(ValueError, match="two or more finite numbers"):
        lower_bound(gains, 0.05)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1])
def test_a_level_outside_its_range_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        lower_bound([0.1, 0.2], level)


def test_all_looks_together_stay_below_the_error_level() -> None:
    levels = [look_level(0.05, look) for look in range(1, 20_000)]
    assert sum(levels) < 0.05
    assert sum(levels) == pytest.approx(0.05, rel=1e-3)
    with pytest.raises(ValueError, match="from 1"):
        look_level(0.05, 0)


def on_one_day(numbers: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.column_stack([numbers, np.zeros(len(numbers), dtype=np.intp)])


def together(random: np.random.Generator, bunches: int, size: int, correlation: float) -> NDArray[np.float64]:
    """Return gains of mean 0 in bunches whose gains have this correlation with each other."""
    share = np.sqrt(correlation)
    common = np.repeat(random.choice([-1.0, 0.0, 1.0], bunches, p=[0.1, 0.8, 0.1]), size)
    own = random.choice([-1.0, 0.0, 1.0], bunches * size, p=[0.1, 0.8, 0.1])
    return np.where(random.random(bunches * size) < share, common, own)


@pytest.mark.parametrize(("size", "correlation"), [(5, 0.3), (20, 0.1), (5, 0.0)])
@pytest.mark.parametrize("level", [0.03, 0.005])
def test_bunches_that_gain_together_are_above_zero_no_more_often_than_the_level(
    size: int, correlation: float, level: float
) -> None:
    random = np.random.default_rng(5)
    trials, count = 2_000, 1_000
    bunches = on_one_day(np.arange(count) // size)
    above = sum(
        lower_bound(together(random, count // size, size, correlation), level, alike=bunches) > 0
        for _ in range(trials)
    )
    assert stats.binomtest(above, trials, level, alternative="greater").pvalue > 0.01


def test_bunches_lower_the_bound_only_where_they_gain_together() -> None:
    random = np.random.default_rng(6)
    gains = together(random, 200, 5, 0.9)
    bunches = on_one_day(np.arange(1_000) // 5)
    alone = lower_bound(gains, 0.01)
    assert lower_bound(gains, 0.01, alike=bunches) < alone - 0.01
    assert lower_bound(gains, 0.01, alike=on_one_day(np.arange(1_000))) == pytest.approx(alone, abs=1e-6)
    assert lower_bound(np.tile([1.0, -1.0, 0.0, 0.0, 0.0], 200), 0.01, alike=bunches) == pytest.approx(
        lower_bound(np.tile([1.0, -1.0, 0.0, 0.0, 0.0], 200), 0.01)
    )


def test_bunches_lower_the_bound_also_where_many_gains_are_exactly_the_mean() -> None:
    gains = np.tile(np.repeat([1.0, -1.0, 0.0, 0.0, 0.0], 5), 20)
    bunches = on_one_day(np.arange(500) // 5)
    assert lower_bound(gains, 0.01, alike=bunches) < lower_bound(gains, 0.01) - 0.05


def test_one_bunch_of_everything_leaves_a_bound_that_a_clear_gain_passes() -> None:
    gains = np.random.default_rng(8).choice([-1.0, 0.0, 1.0], 1_000, p=[0.02, 0.8, 0.18])
    assert lower_bound(gains, 0.001, alike=on_one_day(np.zeros(1_000, dtype=np.intp))) > 0.05


def test_what_is_gained_day_after_day_on_one_template_is_a_gain() -> None:
    """A fifth of the traffic gains a quarter of a point, on ten days, and on one day alone that may be chance."""
    random = np.random.default_rng(9)
    kinds = random.integers(0, 5, 2_000)
    gained = random.choice([1.0, -1.0, 0.0], 2_000, p=[0.5, 0.25, 0.25])
    gains = np.where(kinds == 0, gained, 0.0)
    alone = lower_bound(gains, 0.001)
    lasting = np.column_stack([kinds, np.arange(2_000) // 200])
    assert lower_bound(gains, 0.001, alike=lasting) == pytest.approx(alone, abs=0.01)
    assert lower_bound(gains, 0.001, alike=on_one_day(kinds)) < alone - 0.02


def test_what_is_alike_on_a_few_days_is_above_zero_no_more_often_than_the_level() -> None:
    """The mean of few days is near each of them by chance, so their spread around it is less than the true one."""
    random = np.random.default_rng(5)
    trials, kinds, days, size = 2_000, 20, 5, 10
    came = np.column_stack([np.repeat(np.arange(kinds), days), np.tile(np.arange(days), kinds)])
    above = sum(
        lower_bound(together(random, kinds * days, size, 0.5), 0.03, alike=np.repeat(came, size, axis=0)) > 0
        for _ in range(trials)
    )
    assert stats.binomtest(above, trials, 0.03, alternative="greater").pvalue > 0.01
