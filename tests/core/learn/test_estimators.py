"""The estimators keep scikit-learn's contract, accept missing targets, and predict one row like many."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from flywheel_core.learn import ensemble
from flywheel_core.learn.clusters import ClusterTable
from flywheel_core.learn.forest import LeafTables
from flywheel_core.learn.linear import MultiRidge
from flywheel_core.learn.neighbours import NeighbourTable
from flywheel_core.learn.targets import means_of, shrunken_table, split_scores

ESTIMATORS = [
    MultiRidge(alphas=(1.0,)),
    LeafTables(trees=10, leaf=2, share=1.0, shrinkage=0.5),
    ClusterTable(clusters=8, shrinkage=0.5),
    NeighbourTable(count=5, shrinkage=0.5),
]

_WEIGHTS = "check_sample_weight_equivalence_on_dense_data"
APPROXIMATE: dict[type, dict[str, str]] = {
    ClusterTable: {_WEIGHTS: "weights count in the table, not for where the centres lie"},
    NeighbourTable: {_WEIGHTS: "a row of weight 0 is a neighbour that tells nothing"},
    LeafTables: {
        _WEIGHTS: "weights count in splits and leaves, not in the number of rows that a leaf must hold"
    },
}
"""Checks of scikit-learn that an estimator is expected to fail, and why."""


def test_every_estimator_of_a_router_is_tested_and_on_the_routing_page() -> None:
    kinds = {kind for kind, _ in ensemble._KINDS.values()}
    assert {type(one) for one in ESTIMATORS} == kinds
    page = (Path(__file__).parents[3] / "docs" / "routing.md").read_text(encoding="utf-8")
    for kind in kinds:
        assert f"| `learn/{kind.__module__.rpartition('.')[2]}.py` |" in page


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda one: type(one).__name__)
def test_the_contract_of_scikit_learn_is_kept(estimator: Any) -> None:
    check_estimator(estimator, on_skip=None, expected_failed_checks=APPROXIMATE.get(type(estimator)))


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda one: type(one).__name__)
def test_missing_targets_neither_break_nor_bias(estimator: Any) -> None:
    random = np.random.default_rng(0)
    table = np.abs(random.normal(size=(3_000, 2)))
    truth = np.column_stack([(table[:, 0] > table[:, 1]) * 1.0, (table[:, 0] <= table[:, 1]) * 1.0])
    holed = truth.copy()
    holed[random.random(truth.shape) < 0.6] = np.nan
    found = estimator.fit(table, holed).predict(table)
    assert np.corrcoef(found[:, 0] - found[:, 1], truth[:, 0] - truth[:, 1])[0, 1] > 0.7


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda one: type(one).__name__)
def test_one_row_is_predicted_as_among_many(estimator: Any) -> None:
    random = np.random.default_rng(1)
    table, wanted = random.normal(size=(300, 4)), random.random((300, 3))
    fitted = estimator.fit(table, wanted)
    many = fitted.predict(table[:20])
    one_by_one = np.concatenate([fitted.predict(table[at : at + 1]) for at in range(20)])
    np.testing.assert_allclose(many, one_by_one, rtol=1e-5, atol=1e-6)


def test_ridge_chooses_the_strength_that_predicts_best() -> None:
    random = np.random.default_rng(2)
    table = random.normal(size=(400, 30))
    noise = MultiRidge().fit(table, random.normal(size=400))
    signal = MultiRidge().fit(table, table @ random.normal(size=30))
    assert noise.alpha_ > 100 * signal.alpha_


def test_a_cell_with_little_evidence_keeps_little_of_what_it_shows() -> None:
    membership = np.repeat(np.eye(2), [90, 10], axis=0)
    targets = np.ones((100, 1))
    values, evidence = shrunken_table(membership, targets, np.ones(100), np.zeros(1), shrinkage=10.0)
    np.testing.assert_allclose(values[:, 0], [0.9, 0.5])
    np.testing.assert_allclose(evidence[:, 0], [90, 10])


def test_a_model_that_was_only_asked_hard_questions_is_not_blamed_for_them() -> None:
    random = np.random.default_rng(3)
    ease = np.repeat([0.3, -0.3], 500)
    scores = np.column_stack([0.5 + ease, 0.4 + ease, 0.6 + ease]) + random.normal(0, 0.01, (1_000, 3))
    scores[:450, 2] = np.nan
    means, found, differences = split_scores(scores, np.ones(1_000))
    assert means[2] > means[0] > means[1]
    assert np.corrcoef(found, ease)[0, 1] > 0.99
    np.testing.assert_allclose(means_of(differences, np.ones(1_000)), means, atol=0.01)


def test_a_model_without_any_score_has_no_mean() -> None:
    means, _, differences = split_scores(np.array([[0.5, np.nan], [1.0, np.nan]]), np.ones(2))
    assert means[0] == pytest.approx(0.75)
    assert np.isnan(means[1])
    assert np.isnan(differences[:, 1]).all()


def test_joined_forests_forecast_the_mean_over_all_their_trees() -> None:
    random = np.random.default_rng(4)
    table, wanted = random.random((400, 3)).astype(np.float32), random.random((400, 2))
    wanted[200:] += table[200:, :1]
    few = LeafTables(trees=10, random_state=1).fit(table[:200], wanted[:200])
    many = LeafTables(trees=30, random_state=2).fit(table[200:], wanted[200:])
    joined = LeafTables.joined([few, many])
    np.testing.assert_allclose(
        joined.predict(table), few.predict(table) / 4 + many.predict(table) * 3 / 4, atol=1e-6
    )
