"""The policy: best utility, cheaper of near ties, best single model when in doubt, calibrated confidence."""

import json
from dataclasses import replace

import numpy as np
import pytest

from flywheel_core.learn.charges import Lengths
from flywheel_core.learn.policy import Policy, fit_confidence, reason_names

POLICY = Policy(
    best=0,
    prices=(0.0, 0.0, 0.0),
    costs=(3.0, 2.0, 1.0),
    advantage=0.01,
    tie_tolerance=0.005,
    min_evidence=30.0,
    known_share=0.4,
    always_single=False,
)


def _choice(
    policy: Policy, scores: list[float], evidence: float = 100.0, known: float = 1.0, length: float = 100.0
) -> tuple[int, str]:
    chosen, reasons = policy.choose(
        np.array([scores]), np.full((1, 3), evidence), np.array([known]), np.array([length])
    )
    return int(chosen[0]), reason_names(reasons)[0]


def test_the_best_expected_utility_is_chosen() -> None:
    assert _choice(POLICY, [0.5, 0.6, 0.4]) == (1, "router")
    assert _choice(replace(POLICY, prices=(0.0, 0.3, 0.0)), [0.5, 0.6, 0.4]) == (0, "router")


def test_near_ties_go_to_the_cheaper_model() -> None:
    assert _choice(POLICY, [0.5, 0.6, 0.597]) == (2, "router")
    assert _choice(POLICY, [0.5, 0.6, 0.59]) == (1, "router")
    assert _choice(POLICY, [0.5, 0.2, 0.498]) == (2, "router")


def test_a_lead_that_is_too_small_keeps_the_best_single_model() -> None:
    dearer = replace(POLICY, costs=(1.0, 2.0, 3.0))
    assert _choice(dearer, [0.5, 0.507, 0.4]) == (0, "router")
    assert _choice(dearer, [0.5, 0.52, 0.4]) == (1, "router")


def test_thin_evidence_and_unfamiliar_text_go_to_the_best_single_model() -> None:
    assert _choice(POLICY, [0.5, 0.9, 0.4], evidence=10.0) == (0, "thin_evidence")
    assert _choice(POLICY, [0.5, 0.9, 0.4], known=0.2) == (0, "unfamiliar")


BY_LENGTH = replace(
    POLICY,
    prices=(0.1, 0.1, 0.1),
    price_slopes=(0.0, 0.001, -0.01),
    cost_slopes=(0.0, 0.02, 0.0),
    lengths=Lengths(shortest=50.0, usual=100.0, longest=400.0),
)


def test_charges_follow_the_length_of_the_prompt() -> None:
    assert _choice(BY_LENGTH, [0.5, 0.6, 0.0], length=100.0) == (1, "router")
    assert _choice(BY_LENGTH, [0.5, 0.6, 0.0], length=300.0) == (0, "router")
    assert _choice(BY_LENGTH, [0.5, 0.69, 0.0], length=300.0) == (0, "router")
    assert _choice(BY_LENGTH, [0.5, 0.85, 0.0], length=100_000.0) == (1, "router"), (
        "as for the longest one known"
    )
    assert BY_LENGTH.charges(np.array([0.0, 300.0])) == pytest.approx(
        np.array([[0.1, 0.05, 0.6], [0.1, 0.3, 0.0]])
    )


def test_the_cheaper_of_near_ties_is_the_one_that_is_cheaper_at_that_length() -> None:
    ties = replace(BY_LENGTH, price_slopes=(0.0, 0.0, 0.0))
    assert _choice(ties, [0.6, 0.6, 0.0], length=100.0) == (1, "router")
    assert _choice(ties, [0.6, 0.6, 0.0], length=200.0) == (0, "router")


def test_a_policy_survives_json() -> None:
    for policy in (POLICY, BY_LENGTH):
        assert Policy.from_json(json.loads(json.dumps(policy.to_json()))) == policy


def test_confidence_comes_true() -> None:
    random = np.random.default_rng(0)
    scores = random.random((4_000, 2))
    truth = (random.random((4_000, 2)) < scores).astype(float)
    chosen = scores.argmax(axis=1)
    policy = replace(POLICY, confidence=fit_confidence(scores, truth, chosen, np.ones(4_000), 0.05))
    said = policy.confidences(scores, chosen)
    came = truth[np.arange(4_000), chosen] >= truth.max(axis=1)
    for low, high in np.quantile(said, [[0.0, 0.3], [0.3, 0.7], [0.7, 1.0]]):
        bin_ = (said >= low) & (said <= high)
        assert abs(said[bin_].mean() - came[bin_].mean()) < 0.05


@pytest.mark.parametrize("models", [4, 6])
def test_confidence_comes_true_even_if_half_of_the_scores_are_missing(models: int) -> None:
    """The fewer of the other models' scores are known, the more rarely one of them is seen to be better."""
    random = np.random.default_rng(0)
    scores = random.random((6_000, models))
    truth = (random.random(scores.shape) < scores).astype(float)
    chosen = scores.argmax(axis=1)
    told = np.where(random.random(scores.shape) < 0.5, np.nan, truth)
    policy = replace(POLICY, confidence=fit_confidence(scores, told, chosen, np.ones(6_000), 0.05))
    came = truth[np.arange(6_000), chosen] >= truth.max(axis=1)
    assert abs(policy.confidences(scores, chosen).mean() - came.mean()) < 0.03


@pytest.mark.parametrize("models", [3, 5, 12])
def test_confidence_is_about_all_models_even_if_only_two_are_ever_asked(models: int) -> None:
    """As with `production.baseline`: the other one that is asked is seldom the best of the others."""
    random = np.random.default_rng(0)
    scores = random.random((6_000, models))
    truth = (random.random(scores.shape) < scores).astype(float)
    rows, chosen = np.arange(6_000), scores.argmax(axis=1)
    told = np.full_like(truth, np.nan)
    for asked in (chosen, (chosen + random.integers(1, models, 6_000)) % models):
        told[rows, asked] = truth[rows, asked]
    policy = replace(POLICY, confidence=fit_confidence(scores, told, chosen, np.ones(6_000), 0.05))
    came = truth[rows, chosen] >= truth.max(axis=1)
    assert abs(policy.confidences(scores, chosen).mean() - came.mean()) < 0.03


def test_a_question_of_weight_two_counts_as_two_questions() -> None:
    random = np.random.default_rng(0)
    scores = random.random((400, 3))
    truth = (random.random(scores.shape) < scores).astype(float)
    told = np.where(random.random(scores.shape) < 0.3, np.nan, truth)
    chosen, twice = scores.argmax(axis=1), np.repeat(np.arange(400), 2)
    weighted = fit_confidence(scores, told, chosen, np.full(400, 2.0), 0.05)
    repeated = fit_confidence(scores[twice], told[twice], chosen[twice], np.ones(800), 0.05)
    assert weighted == pytest.approx(repeated, abs=1e-3)


def test_a_score_lower_by_exactly_the_tolerance_counts_as_come_true() -> None:
    """In floating point, 0.15 is less than 0.2 - 0.05."""
    first = np.zeros(90, dtype=np.intp)
    found = [
        fit_confidence(np.full((90, 2), 0.5), np.tile(truth, (90, 1)), first, np.ones(90), 0.05)
        for truth in ([0.15, 0.2], [0.85, 0.9])
    ]
    assert found[0] == found[1]


def test_without_scores_of_other_models_confidence_is_not_fitted() -> None:
    told = np.where(np.eye(3)[np.zeros(90, dtype=np.intp)] == 1, 0.9, np.nan)
    found = fit_confidence(np.full((90, 3), 0.5), told, np.zeros(90, dtype=np.intp), np.ones(90), 0.05)
    assert found == (0.0, 0.0, 0.0)


def test_confidence_of_what_always_comes_true_is_high_but_not_certain() -> None:
    ones = np.ones((50, 2))
    intercept, lead, level = fit_confidence(ones, ones, np.zeros(50, dtype=np.intp), np.ones(50), 0.05)
    assert (lead, level) == (0.0, 0.0)
    assert 0.95 < 1 / (1 + np.exp(-intercept)) < 1
