"""Figures of an evaluation, on questions whose answers are known beforehand."""

from dataclasses import replace

import msgspec
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from flywheel_core.errors import NoDataError
from flywheel_core.learn.evaluate import evaluate
from flywheel_core.learn.example_rows import read_examples
from flywheel_core.learn.measures import (
    calibration_error,
    curve_area,
    curve_choices,
    macro_f1,
    pair_figures,
)
from flywheel_core.learn.resampling import interval, resamples, saved
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.train import train_examples
from flywheel_core.report.evaluation import evaluation_page, summary_of
from tests.core.learn.questions import CATEGORIES, frame, train

QUICK = Learning(trees=10, dimensions=16, folds=2, jobs=1)


def test_the_best_single_model_gains_nothing_and_closes_no_gap() -> None:
    examples = read_examples(frame(300), QUICK)
    router = train_examples(examples, QUICK, version="v", categories=CATEGORIES, single=True).router
    figures = evaluate(router, examples, QUICK)
    overall = figures["overall"]
    assert overall["gain"] == [0.0, 0.0, 0.0]
    assert overall["gap_closed"][0] == 0.0
    assert overall["routed"] == overall["best_single"]
    assert overall["random"][0] == pytest.approx(examples.scores.mean())
    assert overall["oracle"][0] == pytest.approx(examples.scores.max(axis=1).mean())
    assert overall["regret"][0] == pytest.approx(overall["oracle"][0] - overall["routed"][0])
    shares = overall["share"]
    assert shares == {"m-code": [0.0] * 3, "m-general": [1.0] * 3, "m-math": [0.0] * 3}


def test_regret_is_lost_utility_and_not_lost_score() -> None:
    examples = read_examples(frame(300), QUICK)
    router = train_examples(examples, QUICK, version="v", categories=CATEGORIES, single=True).router
    priced = QUICK.model_copy(update={"lambda_cost": 10.0})
    utilities, asked = examples.utilities(priced), router.models.index(router.best_single)
    overall = evaluate(router, examples, priced)["overall"]
    assert overall["regret"][0] == pytest.approx((utilities.max(axis=1) - utilities[:, asked]).mean())
    assert overall["regret"][0] > overall["oracle"][0] - overall["routed"][0] + 0.01


def test_a_choice_comes_true_when_it_is_within_tolerance_of_the_best() -> None:
    examples = read_examples(frame(300), QUICK)
    router = train_examples(examples, QUICK, version="v", categories=CATEGORIES, single=True).router
    scores = np.full_like(examples.scores, 1.0)
    scores[:, router.models.index(router.best_single)] = 0.96
    for tolerance, came_true in ((0.05, 1.0), (0.03, 0.0)):
        settings = QUICK.model_copy(update={"confidence_tolerance": tolerance})
        bins = evaluate(router, replace(examples, scores=scores), settings)["calibration"]
        assert {share for _, share, _ in bins} == {came_true}


def test_a_choice_that_scores_just_the_tolerance_less_is_within_it() -> None:
    """In floating point, 0.15 is less than 0.2 - 0.05."""
    examples = read_examples(frame(300), QUICK)
    router = train_examples(examples, QUICK, version="v", categories=CATEGORIES, single=True).router
    for better in np.arange(0.05, 1.01, 0.05).round(2):
        scores = np.full_like(examples.scores, better)
        scores[:, router.models.index(router.best_single)] = round(better - 0.05, 2)
        bins = evaluate(router, replace(examples, scores=scores), QUICK)["calibration"]
        assert {share for _, share, _ in bins} == {1.0}, better


@pytest.mark.parametrize("column", ["id", "data_point_id"])  # of datasets, and of the days' tables
def test_the_largest_regrets_name_their_data_points(column: str) -> None:
    """Otherwise nobody gets from a strange line of the page to what was asked and answered."""
    rows = frame(300)
    named = rows.with_columns(pl.format("point-{}", pl.int_range(pl.len())).alias(column))
    router = train_examples(
        read_examples(rows, QUICK), QUICK, version="v", categories=CATEGORIES, single=True
    ).router
    question = dict(named.select(column, "text").iter_rows())
    worst = evaluate(router, read_examples(named, QUICK), QUICK)["worst"]
    assert len(worst) > 5
    for one in worst:
        assert question[one["id"]][:500] == one["question"]


def test_figures_of_a_trained_router_are_consistent() -> None:
    router = train(frame(600), QUICK, version="v", categories=CATEGORIES).router
    figures = evaluate(router, read_examples(frame(300, seed=2), QUICK), QUICK)
    overall = figures["overall"]
    assert overall["random"][0] < overall["best_single"][0] < overall["routed"][0] < overall["oracle"][0]
    assert sum(share[0] for share in overall["share"].values()) == pytest.approx(1)
    assert sum(sum(row.values()) for row in figures["confusion"].values()) == 300
    assert [one["regret"] for one in figures["worst"]] == sorted(
        (one["regret"] for one in figures["worst"]), reverse=True
    )
    assert [one["id"] for one in figures["worst"]] == [None] * len(figures["worst"]) != []
    assert min(point[0] for point in figures["curve"]) == pytest.approx(0.001)
    for found in (overall, *figures["categories"].values()):
        for name in ("category_macro_f1", "calibration_error", "curve_area", "gap_closed", "cost", "seconds"):
            value, lower, upper = found[name]
            assert lower - 1e-9 <= value <= upper + 1e-9, name
        assert 0 < found["curve_area"][0] <= 1


def test_figures_are_plain_json_values() -> None:
    router = train(frame(600), QUICK, version="v", categories=CATEGORIES).router
    figures = evaluate(router, read_examples(frame(300, seed=2), QUICK), QUICK)
    assert figures["curve"], "the models' costs differ"
    assert msgspec.json.decode(msgspec.json.encode(figures)) == figures


def test_an_unknown_cost_or_wait_counts_as_the_models_mean() -> None:
    examples = read_examples(frame(300), QUICK)
    router = train_examples(examples, QUICK, version="v", categories=CATEGORIES, single=True).router
    costs, waits = examples.costs.copy(), examples.waits.copy()
    costs[:150], waits[:150] = np.nan, np.nan
    figures = evaluate(router, replace(examples, costs=costs, waits=waits), QUICK)
    assert figures["overall"]["cost"] == pytest.approx([0.01] * 3)
    assert figures["singles"]["m-general"]["seconds"] == pytest.approx(0.8)


def test_an_unknown_cost_appears_in_no_figure_and_is_not_0() -> None:
    examples = read_examples(frame(300), QUICK)
    router = train_examples(examples, QUICK, version="v", categories=CATEGORIES, single=True).router
    figures = evaluate(router, replace(examples, costs=np.full_like(examples.costs, np.nan)), QUICK)
    assert "cost" not in figures["overall"]
    assert set(figures["singles"]["m-general"]) == {"score", "seconds"}
    assert all("cost" not in found for found in figures["categories"].values())
    assert figures["curve"] == []
    assert "cost of 1,000" not in [row.name for row in summary_of(figures)]
    assert '<td class="n">–</td>' in evaluation_page(figures, questions="made up")


def test_a_model_whose_cost_nobody_knows_is_the_dearest_in_decisions_and_gives_no_figure() -> None:
    """It may be far dearer than all others: costs that count it like one of them would be false."""
    examples = read_examples(frame(300), QUICK)
    router = train_examples(examples, QUICK, version="v", categories=CATEGORIES, single=True).router
    best, priced = router.models.index(router.best_single), QUICK.model_copy(update={"lambda_cost": 10.0})
    costs = examples.costs.copy()
    costs[:, best], costs[:, best - 1] = np.nan, 0.05
    examples = replace(examples, costs=costs)
    figures = evaluate(router, examples, priced)
    overall = figures["overall"]
    assert overall["utility"][0] == pytest.approx(examples.scores[:, best].mean() - 0.5)
    assert not {"cost", "cost_saved", "curve_area"} & set(overall)
    assert figures["curve"] == []
    assert set(figures["singles"][router.best_single]) == {"score", "seconds"}
    assert figures["singles"][router.models[best - 1]]["cost"] == pytest.approx(0.05)
    page = evaluation_page(figures, questions="made up")
    assert f"Costs are not compared: those of {router.best_single} are not known." in page
    assert '<td class="n">–</td>' in page
    retrained = train_examples(examples, priced, version="v", categories=CATEGORIES).router
    assert retrained.policy.prices[best] == max(retrained.policy.prices)


def test_bounds_are_those_of_the_figure_worked_out_in_each_resample() -> None:
    random = np.random.default_rng(1)
    truth, guess = random.choice(["a", "b", "c"], 90), random.choice(["a", "b"], 90)
    confidence, within = random.random(90), random.random(90) < 0.6
    scores, expected, costs = (
        random.random((90, 3)),
        random.random((90, 3)),
        random.random((90, 3)) + np.arange(3),
    )
    draws = resamples(np.arange(90).astype(str), 0, 40)
    _, along = curve_choices(expected, costs)

    def figures(rows: NDArray[np.intp]) -> list[float]:
        none = np.zeros((0, len(rows)))
        area = curve_area(along[rows], scores[rows], costs[rows], none)
        assert area is not None
        return [
            macro_f1(truth[rows], guess[rows], none)[0],
            calibration_error(confidence[rows], within[rows], none)[0],
            area[0],
        ]

    each = [figures(np.repeat(np.arange(90), draw.astype(int))) for draw in draws]
    bounds = np.quantile(each, [0.025, 0.975], axis=0)
    assert macro_f1(truth, guess, draws)[1:] == pytest.approx(bounds[:, 0])
    assert calibration_error(confidence, within, draws)[2] == pytest.approx(bounds[1, 1])
    assert curve_area(along, scores, costs, draws)[1:] == pytest.approx(bounds[:, 2])  # type: ignore[index]  # costs differ


def test_the_area_under_the_curve_ends_at_the_most_expensive_model() -> None:
    """Models of nearly one price: the costs that choices reach lie far beyond those of the models alone."""
    costs = np.array([[1.0, 2.0], [2.0, 1.01]])
    scores = np.array([[0.0, 1.0], [1.0, 0.0]])
    none = np.zeros((0, 2))
    dear, cheap = np.array([[1], [0]]), np.array([[0], [1]])
    assert curve_area(dear, scores, costs, none) == pytest.approx([0.5, 0.5, 0.5], abs=0.01)
    assert curve_area(cheap, 1 - scores, costs, none) == pytest.approx([1.0] * 3, abs=0.01)


def test_of_very_many_questions_some_are_drawn_whatever_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flywheel_core.learn.evaluate.MOST", 100)
    examples = read_examples(frame(300), QUICK)
    router = train_examples(examples, QUICK, version="v", categories=CATEGORIES, single=True).router
    figures = evaluate(router, examples, QUICK)
    assert (figures["questions"], figures["drawn_from"], figures["left_out"]) == (100, 300, 0)
    drawn = np.argsort(examples.groups)[:100]
    best = examples.scores[drawn, router.models.index(router.best_single)]
    assert figures["overall"]["routed"][0] == pytest.approx(best.mean())
    turned = evaluate(router, examples.pick(np.arange(300)[::-1]), QUICK)
    assert turned["overall"]["routed"][0] == pytest.approx(best.mean())
    assert "100 questions" in (page := evaluation_page(figures, questions="the test split"))
    assert "They are drawn from 300 by their hash." in page
    assert "drawn from" not in evaluation_page({**figures, "drawn_from": 100}, questions="the test split")


def test_only_questions_with_all_outcomes_count() -> None:
    examples = read_examples(frame(300), QUICK)
    scores = examples.scores.copy()
    scores[:100, 0] = np.nan
    holed = replace(examples, scores=scores)
    router = train_examples(examples, QUICK, version="v", categories=CATEGORIES, single=True).router
    assert evaluate(router, holed, QUICK)["questions"] == 200
    scores[:, 0] = np.nan
    with pytest.raises(NoDataError, match="none of 300 questions"):
        evaluate(router, replace(examples, scores=scores), QUICK)


def test_apgr_and_cpt50_of_perfect_and_of_useless_forecasts() -> None:
    weak = np.repeat([0.0, 1.0], [1_000, 1_000])
    scores = np.column_stack([weak, np.ones(2_000)])
    groups = np.array([f"{number}" for number in range(2_000)])
    perfect = pair_figures(scores, scores, groups)
    assert perfect["apgr"][0] == pytest.approx(0.75)
    assert perfect["cpt50"][0] == pytest.approx(0.25)
    useless = np.random.default_rng(0).random((2_000, 2))
    assert pair_figures(useless, scores, groups)["apgr"][0] == pytest.approx(0.5, abs=0.1)


def test_forecasts_without_an_order_recover_what_chance_does() -> None:
    """The order of the file says nothing: here all questions where something can be gained come first."""
    scores = np.column_stack([np.repeat([0.0, 1.0], [500, 500]), np.ones(1_000)])
    groups = np.array([f"{number}" for number in range(1_000)])
    figures = pair_figures(np.full((1_000, 2), 0.5), scores, groups)
    assert figures["apgr"] == pytest.approx([0.5, 0.5, 0.5])
    assert figures["cpt50"] == pytest.approx([0.5, 0.5, 0.5], abs=0.01)


def test_sums_of_decimal_scores_count_as_what_they_are_written_as() -> None:
    """In floating point, 0.1 + 0.2 is more than 0.3.

    Without rounding, models of equal mean would show a tiny gap, and a router would recover billions of times
    that gap.
    """
    groups = np.array(["a", "b", "c"])
    forecasts = np.array([[0.9, 0.0], [0.8, 0.0], [0.7, 0.0]])
    equal = pair_figures(forecasts, np.array([[0.1, 0.0], [0.2, 0.0], [0.0, 0.3]]), groups)
    assert (equal["apgr"][0], equal["cpt50"][0]) == (0.5, 1.0)
    assert all(0 <= bound <= 1 for bound in equal["cpt50"])
    half = np.array([[0.1, 0.0], [0.1, 0.0], [0.1, 0.0], [0.0, 0.1]])
    forecasts = np.array([[0.9, 0.0], [0.8, 0.0], [0.7, 0.0], [0.6, 0.0]])
    assert pair_figures(forecasts, half, np.array(["a", "b", "c", "d"]))["cpt50"][0] == 0.25


def test_an_interval_over_similar_questions_is_wider() -> None:
    values = np.random.default_rng(0).normal(size=200).repeat(5)
    apart = interval(values, resamples(np.arange(1_000).astype(str), 0))
    alike = interval(values, resamples(np.arange(200).repeat(5).astype(str), 0))
    assert alike[2] - alike[1] > 1.8 * (apart[2] - apart[1])


def test_what_routing_saves_is_a_share_of_what_the_best_single_model_costs() -> None:
    examples = read_examples(frame(300), QUICK)
    single = train_examples(examples, QUICK, version="v", categories=CATEGORIES, single=True).router
    alone = evaluate(single, examples, QUICK)["overall"]
    assert alone["cost_saved"] == alone["seconds_saved"] == [0.0, 0.0, 0.0]
    router = train(frame(600), QUICK, version="v", categories=CATEGORIES).router
    figures = evaluate(router, examples, QUICK)
    for name in ("cost", "seconds"):
        value, lower, upper = figures["overall"][f"{name}_saved"]
        best = figures["singles"][router.best_single][name]
        assert value == pytest.approx(1 - figures["overall"][name][0] / best)
        assert lower <= value <= upper
    assert figures["overall"]["cost_saved"][1] > 0


def test_bounds_of_a_saving_are_those_of_the_share_in_each_resample() -> None:
    random = np.random.default_rng(2)
    paid, alone = random.random(50), random.random(50) + 1
    draws = resamples(np.arange(50).astype(str), 0, 40)
    each = [
        1 - np.repeat(paid, draw.astype(int)).sum() / np.repeat(alone, draw.astype(int)).sum()
        for draw in draws
    ]
    found = saved(paid, alone, draws)
    assert found is not None
    assert found[1:] == pytest.approx(np.quantile(each, [0.025, 0.975]))
    assert saved(paid, np.zeros(50), draws) is None, "there is no share of nothing"
