"""Costs and latencies by the length of a prompt: the line fitted for each model, and how routers use it."""

import numpy as np
import pytest

from flywheel_core.learn.charges import by_length, charged, lengths_of
from flywheel_core.learn.evaluate import evaluate
from flywheel_core.learn.examples import Examples
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.text import question_group
from flywheel_core.learn.train import train_examples

WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")


def priced(count: int, seed: int = 0) -> Examples:
    """Return prompts of 5, 20 or 400 words and the outcomes of two models.

    "dear" scores 0.1 more per question than "small", at ten times its price per byte.
    """
    random = np.random.default_rng(seed)
    texts = [" ".join(random.choice(WORDS, size)) for size in random.choice([5, 20, 400], count)]
    scores = np.column_stack([random.normal(0.8, 0.05, count), random.normal(0.7, 0.05, count)]).clip(0, 1)
    costs = lengths_of(texts)[:, None] * np.array([1e-5, 1e-6]) * random.lognormal(0.0, 0.1, (count, 2))
    return Examples(
        texts,
        ("dear", "small"),
        scores,
        costs,
        np.full_like(costs, np.nan),
        np.ones(count),
        np.array([question_group(text) for text in texts], dtype=np.str_),
        [None] * count,
        np.zeros(count, dtype=np.int64),
    )


def test_lengths_are_bytes_whatever_the_text() -> None:
    assert lengths_of(["ab", "积分", "\ud800", ""]).tolist() == [2, 6, 3, 0]


def test_each_models_line_is_found_although_they_were_asked_on_different_lengths() -> None:
    lengths = np.arange(10.0, 210.0)
    line = np.column_stack([5 + 0.02 * lengths, 1 + 0.1 * lengths, np.full(200, 3.0)])
    paid = line.copy()
    paid[:100, 0], paid[60:, 1] = np.nan, np.nan
    values, slopes, seen = by_length(paid, lengths)
    assert slopes == pytest.approx([0.02, 0.1, 0.0])
    assert charged(values, slopes, seen.beyond_usual(lengths)) == pytest.approx(line)
    assert (seen.shortest, seen.longest) == (10.0, 209.0)


def test_few_answers_or_one_length_predict_nothing_by_length() -> None:
    lengths = np.arange(1.0, 41.0)
    paid = np.column_stack([np.where(lengths > 21, np.nan, lengths), np.full(40, np.nan), 2 * lengths])
    paid[19, 0] = np.nan  # leaves 20 known costs
    assert by_length(paid, lengths)[1] == pytest.approx([1.0, 2.0, 2.0]), "unknown: as the dearest"
    paid[18, 0] = np.nan
    assert by_length(paid, lengths)[1] == pytest.approx([0.0, 2.0, 2.0])
    values, slopes, _ = by_length(np.full((40, 1), 7.0), np.full(40, 9.0))
    assert (values.tolist(), slopes.tolist()) == ([7.0], [0.0])
    assert by_length(np.full((40, 2), np.nan), lengths)[0].tolist() == [0.0, 0.0]


def test_no_predicted_cost_is_below_zero() -> None:
    assert charged([1.0], [-0.5], np.array([-2.0, 0.0, 10.0])).tolist() == [[2.0], [1.0], [0.0]]


def test_short_prompts_get_the_dear_model_and_long_ones_the_small_one() -> None:
    """If each were charged its mean cost, one of the two models would get all prompts."""
    settings = Learning(lambda_cost=30.0, trees=20, dimensions=16, folds=2, jobs=1)
    router = train_examples(priced(600), settings, version="v").router
    fresh = priced(300, seed=1)
    chosen = np.array([decision.model for decision in router.decide_all(fresh.texts)])
    long = lengths_of(fresh.texts) > 1_000
    assert (chosen[long] == "small").mean() > 0.95
    assert (chosen[~long] == "dear").mean() > 0.8
    figures = evaluate(router, fresh, settings)
    assert figures["overall"]["utility_gain"][1] > 0
    scores = {cost: score for cost, score, _ in figures["curve"]}
    costs = fresh.costs.mean(axis=0)
    between = [
        score
        for cost, score in scores.items()
        if costs[1] * 1.05 < cost < costs[1] + 0.3 * (costs[0] - costs[1])
    ]
    straight = fresh.scores.mean(axis=0)
    assert max(between) > straight[1] + 0.5 * (straight[0] - straight[1]), (
        "two thirds of the questions are short"
    )
