"""A router learns what there is to learn, otherwise keeps to the best single model; no data is an error."""

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from flywheel_core.errors import DatasetError, NoDataError
from flywheel_core.learn.evaluate import evaluate
from flywheel_core.learn.example_rows import read_examples
from flywheel_core.learn.labels import train_labels
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.train import train_examples
from tests.core.learn.questions import CATEGORIES, OUTCOME, frame, train

QUICK = Learning(trees=20, dimensions=32, folds=3, jobs=1)
NONE = frame(0)


def test_a_router_beats_the_best_single_model_on_new_questions() -> None:
    router = train(frame(900), QUICK, version="v", categories=CATEGORIES).router
    assert router.best_single == "m-general"
    figures = evaluate(router, read_examples(frame(600, seed=9), QUICK), QUICK)
    assert figures["overall"]["gain"][1] > 0.08
    assert figures["overall"]["category_accuracy"][0] > 0.85
    assert figures["overall"]["calibration_error"][0] < 0.1


def test_a_classifier_of_labels_that_wins_forecasts_scores_and_how_sure_it_is() -> None:
    trained = train(frame(250, seed=100), QUICK, version="v", categories=CATEGORIES)
    assert trained.figures["candidate"] == "labels"
    examples = read_examples(frame(800, seed=9), QUICK)
    figures = evaluate(trained.router, examples, QUICK)
    assert figures["overall"]["calibration_error"][0] < 0.04
    expected = trained.router.forecast(examples.texts).scores
    assert expected.mean(axis=0) == pytest.approx(examples.scores.mean(axis=0), abs=0.05)
    right = np.array(examples.labels) == "code"
    assert expected[right, 0].mean() - expected[~right, 0].mean() > 0.4  # the true means are 0.95 and 0.3


def test_near_duplicates_do_not_make_a_router_look_better_than_it_is() -> None:
    """Two hundred questions without anything to learn, five times each with another word: only memory would help."""
    random = np.random.default_rng(4)
    words = np.array([bytes(word).decode() for word in random.integers(97, 123, (500, 6)).astype(np.uint8)])
    rows: list[dict[str, object]] = []
    for drawn in random.choice(words, (200, 12)):
        right = random.random(2) < 0.6
        outcomes = [
            {"model": model, "score": float(score), "failed": False, "cost": None, "latency_ms": None}
            for model, score in zip(("m-code", "m-general"), right, strict=True)
        ]
        for place in range(5):
            texts = drawn.copy()
            texts[place] = random.choice(words)
            rows.append({"text": " ".join(texts), "outcomes": outcomes, "split": "train"})
    examples = pl.DataFrame(rows, schema_overrides={"outcomes": pl.List(OUTCOME)})
    figures = train(examples, QUICK, version="v", categories=CATEGORIES).figures
    assert figures["candidates"]["blend"]["gain"] < 0.03


def test_training_works_with_missing_scores() -> None:
    router = train(frame(1_500, missing=0.5), QUICK, version="v", categories=CATEGORIES).router
    figures = evaluate(router, read_examples(frame(600, seed=9), QUICK), QUICK)
    assert figures["overall"]["gain"][1] > 0.05


def test_without_anything_to_learn_the_router_stays_near_the_best_single_model() -> None:
    router = train(frame(600, shuffled=True), QUICK, version="v", categories=CATEGORIES).router
    figures = evaluate(router, read_examples(frame(600, seed=9, shuffled=True), QUICK), QUICK)
    assert figures["overall"]["gain"][2] > -0.02


def test_two_trainings_give_the_same_decisions_whatever_the_processors() -> None:
    examples, prompts = frame(400), frame(50, seed=3)["text"].to_list()
    one = train(examples, QUICK, version="v", categories=CATEGORIES).router.decide_all(prompts)
    two = train(examples, QUICK.model_copy(update={"jobs": 2}), version="v", categories=CATEGORIES)
    assert one == two.router.decide_all(prompts)


def test_a_price_on_cost_makes_the_cheap_models_win() -> None:
    dear = QUICK.model_copy(update={"lambda_cost": 100.0})
    router = train(frame(600), dear, version="v", categories=CATEGORIES).router
    assert router.best_single != "m-general"
    assert {decision.model for decision in router.decide_all(frame(50, seed=3)["text"].to_list())} == {
        "m-code",
        "m-math",
    }


@pytest.mark.parametrize("count", [1, 2, 30, 200])
def test_few_examples_give_a_router_all_the_same(count: int) -> None:
    router = train(frame(count), QUICK, version="v", categories=CATEGORIES).router
    assert router.decide("what is a matrix").model in CATEGORIES


def test_identical_questions_give_the_best_single_model() -> None:
    rows = frame(300).with_columns(text=pl.lit("what is 1 + 1?"))
    trained = train(rows, QUICK, version="v", categories=CATEGORIES)
    assert trained.figures["candidate"] == "best_single"


def test_no_data_is_refused_in_words() -> None:
    with pytest.raises(NoDataError, match="nothing to train on"):
        train(NONE, QUICK, version="v")
    with pytest.raises(NoDataError, match="nothing to train on"):
        train(frame(300), QUICK, version="v", models=["another"])
    with pytest.raises(DatasetError, match="outcomes"):
        train(pl.DataFrame({"text": ["x"], "split": ["train"]}), QUICK, version="v")


def test_a_models_own_failure_counts_and_a_scorers_does_not() -> None:
    outcomes = [
        [
            {"model": "gives-up", "score": None, "failed": True, "cost": None, "latency_ms": None},
            {"model": "unscored", "score": None, "failed": False, "cost": None, "latency_ms": None},
            {"model": "answers", "score": 0.4, "failed": False, "cost": None, "latency_ms": None},
        ]
    ]
    rows = pl.DataFrame(
        {"text": ["why"], "outcomes": outcomes}, schema={"text": pl.String, "outcomes": pl.List(OUTCOME)}
    )
    examples = read_examples(rows, Learning(failure_score=0.1))
    assert examples.models == ("answers", "gives-up")
    assert examples.scores.tolist() == [[0.4, 0.1]]


def test_failures_while_the_scorer_was_down_do_not_make_the_model_that_fails_the_best() -> None:
    def outcome(model: str, *, failed: bool) -> dict[str, object]:
        return {"model": model, "score": None, "failed": failed, "cost": None, "latency_ms": None}

    down = pl.DataFrame(
        {
            "text": [f"question {number}" for number in range(60)],
            "outcomes": [
                [outcome("shaky", failed=number % 5 == 0), outcome("steady", failed=number % 30 == 0)]
                for number in range(60)
            ],
        },
        schema={"text": pl.String, "outcomes": pl.List(OUTCOME)},
    )
    with pytest.raises(NoDataError, match="none with a scored answer"):
        train_examples(read_examples(down, QUICK), QUICK, version="v", single=True)
    again = frame(40)
    examples = read_examples(pl.concat([again.select("text", "outcomes"), down]), QUICK)
    known = (~np.isnan(examples.scores)).any(axis=1)
    both_failed = [40, 70]
    assert np.flatnonzero(known).tolist() == [*range(40), *both_failed]


def test_a_model_that_left_or_hardly_answered_is_no_candidate() -> None:
    rows = frame(300).with_columns(
        day=pl.Series([date(2026, 1, 1)] * 150 + [date(2026, 2, 1)] * 150),
    )
    examples = read_examples(rows, QUICK)
    scores = examples.scores.copy()
    scores[150:, 0] = np.nan
    scores[10:, 2] = np.nan
    router = train_examples(replace(examples, scores=scores), QUICK, version="v").router
    assert router.models == ("m-general",)


def test_a_newcomer_is_the_best_single_model_only_when_its_lead_is_not_luck() -> None:
    """Its first answers may all be good by chance, and then every question would go to it."""
    examples = read_examples(frame(600), QUICK)
    for lead, best in ((0.05, "m-general"), (0.5, "m-code")):
        scores = np.full_like(examples.scores, np.nan)
        scores[:, 1:] = np.arange(600)[:, None] % 2 * 0.8
        scores[:25, 0] = scores[:25, 1] + lead
        told = replace(examples, scores=scores)
        router = train_examples(told, QUICK, version="v", categories=CATEGORIES, single=True).router
        assert router.best_single == best


def test_models_that_were_mostly_asked_what_they_are_good_at_are_not_good_at_everything() -> None:
    """In production a specialist gets its domain's questions and, as the baseline, now and then another."""
    random = np.random.default_rng(3)
    count = 3_000
    domains = random.integers(0, 3, count)
    chances = np.array([[0.98, 0.5, 0.5], [0.5, 0.98, 0.5], [0.71, 0.71, 0.71]])
    scores = (random.random((count, 3)) < chances[:, domains].T).astype(float)
    baseline = (domains + random.integers(1, 3, count)) % 3
    asked = np.where(np.arange(3) == domains[:, None], 1.0, 0.5)
    seen = (np.arange(3) == domains[:, None]) | (np.arange(3) == baseline[:, None])
    rows = frame(count)
    outcomes = [
        [
            {
                "model": name,
                "score": score,
                "failed": False,
                "cost": None,
                "latency_ms": None,
                "asked": chance,
            }
            for name, score, chance, there in zip(("code", "math", "plain"), *row, strict=True)
            if there
        ]
        for row in zip(scores.tolist(), asked.tolist(), seen.tolist(), strict=True)
    ]
    told = read_examples(pl.DataFrame({"text": rows["text"], "outcomes": outcomes}), QUICK)
    naive = np.nanmean(told.scores, axis=0)
    assert naive.argmax() != 2, "by plain means a specialist would be the best"
    assert scores.mean(axis=0).argmax() == 2
    router = train_examples(told, QUICK, version="v", categories={}, single=True).router
    assert router.best_single == "plain"
    certain = read_examples(rows, QUICK)
    assert certain.asked is None


def test_a_model_that_is_asked_only_where_it_was_chosen_is_not_the_best_for_everything() -> None:
    """The model left the candidates, or only clients name it: nothing is known about other questions."""
    examples = read_examples(frame(600), QUICK)
    scores = examples.scores.copy()
    chosen = scores[:, 2] > scores[:, 1]
    scores[~chosen, 2] = np.nan
    told = replace(examples, scores=scores)
    for candidates, best in ((["m-code", "m-general"], "m-general"), (None, "m-math"), (["gone"], "m-math")):
        router = train_examples(
            told, QUICK, version="v", categories=CATEGORIES, candidates=candidates, single=True
        ).router
        assert router.best_single == best
        assert "m-math" in router.models


def test_an_example_weighs_as_much_as_the_data_points_merged_in_it() -> None:
    rows = frame(2).with_columns(weight=pl.Series([3, 1]))
    assert read_examples(rows, QUICK).weights.tolist() == [3.0, 1.0]


def test_recent_days_weigh_more_with_a_half_life() -> None:
    rows = frame(2).with_columns(day=pl.Series([date(2026, 1, 1), date(2026, 1, 11)]))
    assert read_examples(rows, Learning(half_life_days=10)).weights.tolist() == [0.5, 1.0]


def test_unfamiliar_text_goes_to_the_best_single_model() -> None:
    router = train(frame(600), QUICK, version="v", categories=CATEGORIES).router
    decision = router.decide("Объясните, пожалуйста, что такое производная")
    assert (decision.model, decision.reason) == ("m-general", "unfamiliar")


def test_labels_alone_make_a_classifier() -> None:
    rows = frame(400)
    router = train_labels(
        rows["text"].to_list(), rows["label"].to_list(), CATEGORIES, QUICK, version="v"
    ).router
    fresh = frame(200, seed=5)
    found = [decision.category for decision in router.decide_all(fresh["text"].to_list())]
    assert np.mean([one == two for one, two in zip(found, fresh["label"], strict=True)]) > 0.9


def test_confidence_of_a_classifier_of_labels_comes_true_on_new_texts() -> None:
    """Labels are drawn at random: about its own training texts, a classifier would remember some of them."""
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abcdefghij"), 6)) for _ in range(1_000)]
    texts = [" ".join(random.choice(words, 12)) for _ in range(1_200)]
    labels = random.choice(list(CATEGORIES.values()), 1_200).tolist()
    router = train_labels(texts[:600], labels[:600], CATEGORIES, QUICK, version="v").router
    decisions = router.decide_all(texts[600:])
    came = np.mean([one.category == label for one, label in zip(decisions, labels[600:], strict=True)])
    assert abs(np.mean([one.confidence for one in decisions]) - came) < 0.05


def test_labels_of_no_model_are_refused() -> None:
    with pytest.raises(NoDataError, match="no text whose label"):
        train_labels(["a"], ["law"], {"m-math": "math"}, QUICK, version="v")
