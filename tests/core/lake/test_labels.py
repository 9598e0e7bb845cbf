"""The label rules: one at a time, and compared with a plain implementation in Python."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel_core.config import Config
from flywheel_core.lake.engine import open_engine
from flywheel_core.lake.labels import RULES, create_labels
from tests.core.lake.lakes import CONFIG

SCHEMA = pa.schema(
    [
        ("example", pa.int64()),
        ("model", pa.string()),
        ("score", pa.float64()),
        ("failed", pa.bool_()),
        ("cost", pa.float64()),
        ("latency_ms", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Outcome:
    """One model's response to an example: its score, failure, cost and latency."""

    model: str
    score: float | None
    failed: bool = False
    cost: float | None = 1.0
    latency_ms: float | None = 100.0


def label_all(config: Config, examples: Sequence[Sequence[Outcome]]) -> list[dict[str, Any]]:
    """Return the label rows of examples, in order."""
    rows = [
        {"example": number, **vars(outcome)} for number, found in enumerate(examples) for outcome in found
    ]
    with open_engine(config, scratch="") as connection:
        connection.register("outcomes", pa.Table.from_pylist(rows, SCHEMA))
        create_labels(connection)
        columns = (
            "example",
            "rule",
            "label",
            "best_model",
            "score",
            "margin",
            "n_tied",
            "n_scored",
            "n_failed",
        )
        found = connection.execute(f"select {', '.join(columns)} from labels order by example").fetchall()
    return [dict(zip(columns, row, strict=True)) for row in found]


def label(*outcomes: Outcome, config: Config = CONFIG) -> dict[str, Any]:
    """Return the label row of one example."""
    return label_all(config, [outcomes])[0]


def with_labelling(**settings_: Any) -> Config:
    """Return the tests' configuration with other labelling settings."""
    return Config.model_validate({**CONFIG.model_dump(mode="json"), "labelling": settings_})


def test_the_best_score_by_more_than_the_tolerance_wins() -> None:
    found = label(Outcome("big", 0.7, cost=9.0), Outcome("algebra", 0.6, cost=0.1), Outcome("coder", 0.2))
    assert (found["rule"], found["label"], found["best_model"]) == ("single_best", "general", "big")
    assert (found["score"], found["n_tied"]) == (0.7, 1)
    assert found["margin"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("big", "algebra", "rule", "label_"),
    [
        ({"cost": 2.0}, {"cost": 1.0}, "tie_cheaper", "math"),
        ({"cost": 1.0, "latency_ms": 50.0}, {"cost": 1.0, "latency_ms": 60.0}, "tie_faster", "general"),
        ({"cost": 1.0, "latency_ms": 50.0}, {"cost": 1.0, "latency_ms": 50.0}, "tie_declared", "general"),
        ({"cost": None}, {"cost": 5.0}, "tie_declared", "general"),
        ({"cost": None, "latency_ms": 70.0}, {"cost": 5.0, "latency_ms": 60.0}, "tie_faster", "math"),
        ({"cost": 5.0, "latency_ms": 70.0}, {"cost": 5.0, "latency_ms": None}, "tie_declared", "general"),
    ],
)
def test_ties_go_by_preference(big: dict[str, Any], algebra: dict[str, Any], rule: str, label_: str) -> None:
    found = label(Outcome("big", 0.9, **big), Outcome("algebra", 0.88, **algebra))
    assert (found["rule"], found["label"], found["n_tied"]) == (rule, label_, 2)


def test_the_order_of_preferences_is_the_configurations() -> None:
    config = with_labelling(tie_preference=["faster", "cheaper"])
    slow, fast = (
        Outcome("big", 0.9, cost=1.0, latency_ms=99),
        Outcome("algebra", 0.9, cost=9.0, latency_ms=98),
    )
    assert label(slow, fast, config=config)["rule"] == "tie_faster"
    assert label(slow, fast, config=config)["best_model"] == "algebra"
    assert label(slow, fast, config=with_labelling(tie_preference=["declared"]))["best_model"] == "big"


@pytest.mark.parametrize("preference", [["cheaper"], ["cheaper", "faster"], ["declared"]])
def test_what_no_preference_decides_goes_by_the_declared_order_and_says_so(preference: list[str]) -> None:
    equal = [Outcome(model, 0.9, cost=1.0, latency_ms=50.0) for model in ("algebra", "big")]
    found = label(*equal, config=with_labelling(tie_preference=preference))
    assert (found["rule"], found["best_model"]) == ("tie_declared", "big")


def test_ties_never_go_by_name() -> None:
    config = Config.model_validate(
        {
            "models": {"zebra": {"category": "z"}, "ant": {"category": "a"}},
            "data_collection": {"training": {"candidate_models": ["zebra", "ant"]}},
            "routing": {"default_model": "zebra"},
        }
    )
    found = label(Outcome("ant", 0.9), Outcome("zebra", 0.9), config=config)
    assert (found["rule"], found["label"]) == ("tie_declared", "z")


def test_a_score_just_outside_the_tolerance_is_no_tie() -> None:
    found = label(Outcome("big", 0.9, cost=9.0), Outcome("algebra", 0.8799, cost=0.1))
    assert (found["rule"], found["best_model"]) == ("single_best", "big")


@pytest.mark.parametrize("top", [0.72, 0.3, 0.9, 0.57])
def test_a_score_at_the_tolerance_is_a_tie_despite_rounding(top: float) -> None:
    config = with_labelling(min_score=0.1)
    assert label(Outcome("big", top), Outcome("algebra", round(top - 0.02, 2)), config=config)["n_tied"] == 2


def test_a_tie_does_not_lift_a_score_below_the_minimum() -> None:
    found = label(Outcome("big", 0.51, cost=9.0), Outcome("algebra", 0.495, cost=0.1))
    assert (found["best_model"], found["score"], found["rule"]) == ("big", 0.51, "single_best")


def test_a_best_score_below_the_minimum_gives_no_label() -> None:
    found = label(Outcome("big", 0.4), Outcome("algebra", 0.3))
    assert (found["rule"], found["label"], found["best_model"]) == ("below_min_score", None, "big")
    assert label(Outcome("big", 0.5), Outcome("algebra", 0.3))["label"] == "general"


@pytest.mark.parametrize("others", [(), (Outcome("algebra", None),), (Outcome("algebra", 1.0, failed=True),)])
def test_fewer_than_two_scored_models_give_no_label(others: tuple[Outcome, ...]) -> None:
    found = label(Outcome("big", 1.0), *others)
    assert (found["rule"], found["label"], found["best_model"], found["margin"]) == (
        "too_few_scores",
        None,
        "big",
        None,
    )


def test_an_example_without_any_score_gives_no_label() -> None:
    found = label(Outcome("big", None, failed=True), Outcome("algebra", None))
    assert (found["rule"], found["label"], found["best_model"], found["score"]) == (
        "too_few_scores",
        None,
        None,
        None,
    )
    assert (found["n_scored"], found["n_failed"], found["n_tied"]) == (0, 1, 0)


@pytest.mark.parametrize("stranger", ["stranger", "nameless"])
def test_a_best_model_without_category_gives_no_label(stranger: str) -> None:
    found = label(Outcome("big", 0.6), Outcome("coder", 0.6), Outcome(stranger, 0.9))
    assert (found["rule"], found["label"], found["best_model"]) == ("unknown_model", None, stranger)


scores = st.none() | st.sampled_from([0.0, 0.3, 0.48, 0.49, 0.5, 0.51, 0.52, 0.9, 0.91, 0.92, 1.0])
outcomes = st.builds(
    Outcome,
    model=st.sampled_from(["big", "algebra", "coder", "nameless", "stranger", "other"]),
    score=scores,
    failed=st.booleans(),
    cost=st.sampled_from([None, 0.0, 1.0, 2.0]),
    latency_ms=st.sampled_from([None, 10.0, 20.0]),
)
examples_strategy = st.lists(
    st.lists(outcomes, min_size=1, max_size=6, unique_by=lambda outcome: outcome.model),
    min_size=1,
    max_size=30,
)
preferences = st.permutations(["cheaper", "faster", "declared"]).flatmap(
    lambda order: st.integers(1, 3).map(lambda size: order[:size])
)


def told_plainly(config: Config, found: Sequence[Outcome]) -> tuple[str, str | None, str | None]:
    """Return the rule, label and best model, by the rules as docs/data.md states them."""
    labelling = config.labelling
    scored = [
        (outcome.score, outcome) for outcome in found if outcome.score is not None and not outcome.failed
    ]
    if not scored:
        return "too_few_scores", None, None
    top = max(score for score, _ in scored)
    tied = [
        outcome
        for score, outcome in scored
        if score == top or (top - score <= labelling.tie_tolerance + 1e-9 and score >= labelling.min_score)
    ]
    declared = config.declared_order()
    keys: Mapping[str, Any] = {
        "cheaper": lambda outcome: outcome.cost,
        "faster": lambda outcome: outcome.latency_ms,
        "declared": lambda outcome: declared.index(outcome.model) if outcome.model in declared else 1_000_000,
    }
    order = [
        name
        for name in (*labelling.tie_preference, "declared")
        if all(keys[name](outcome) is not None for outcome in tied)
    ]
    ranked = sorted(tied, key=lambda outcome: (*(keys[name](outcome) for name in order), outcome.model))
    best = ranked[0].model
    if len(scored) < 2:
        return "too_few_scores", None, best
    if top < labelling.min_score:
        return "below_min_score", None, best
    category = config.categories().get(best)
    if category is None:
        return "unknown_model", None, best
    if len(ranked) == 1:
        return "single_best", category, best
    decided = next(name for name in order if keys[name](ranked[0]) != keys[name](ranked[1]))
    return f"tie_{decided}", category, best


@settings(max_examples=60)
@given(examples_strategy, preferences, st.sampled_from([0.0, 0.02, 0.1]), st.sampled_from([0.0, 0.5, 0.9]))
def test_labels_are_what_the_rules_say(
    examples: list[list[Outcome]], preference: list[str], tolerance: float, least: float
) -> None:
    config = with_labelling(tie_preference=preference, tie_tolerance=tolerance, min_score=least)
    found = label_all(config, examples)
    assert [(row["rule"], row["label"], row["best_model"]) for row in found] == [
        told_plainly(config, example) for example in examples
    ]
    for row, example in zip(found, examples, strict=True):
        by_model = {outcome.model: outcome for outcome in example}
        assert row["rule"] in RULES
        assert (row["label"] is None) == (row["rule"] in RULES[:3])
        scores = sorted((o.score for o in example if o.score is not None and not o.failed), reverse=True)
        assert row["n_scored"] == len(scores)
        assert row["margin"] == (pytest.approx(scores[0] - scores[1]) if len(scores) > 1 else None)
        if row["best_model"] is not None:
            best = by_model[row["best_model"]]
            assert not best.failed and best.score == row["score"]
        if row["label"] is not None:
            assert row["score"] >= least and row["n_scored"] >= 2 and 0 <= row["margin"] <= 1


@settings(max_examples=20)
@given(examples_strategy, st.randoms())
def test_the_order_of_rows_does_not_matter(examples: list[list[Outcome]], random: Any) -> None:
    shuffled = [random.sample(example, len(example)) for example in examples]
    assert label_all(CONFIG, shuffled) == label_all(CONFIG, examples)
