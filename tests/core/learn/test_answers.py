"""Training also learns from answers what their questions are about, and works without answers too."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flywheel_core.config import Config
from flywheel_core.errors import DatasetError
from flywheel_core.lake.dataset import build_dataset
from flywheel_core.lake.layout import Layout
from flywheel_core.learn.answers import ANSWER_CHARS, digest_of, joined_answers, newest_answers
from flywheel_core.learn.craft import train_version
from flywheel_core.learn.example_rows import read_examples
from flywheel_core.learn.features import TextFeatures
from flywheel_core.learn.router import Router
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.train import train_examples
from tests.core.lake.lakes import CONFIG, DAY, build_day, point, response, write_raw
from tests.core.learn.questions import CATEGORIES, frame

QUICK = Learning(trees=10, dimensions=16, folds=2, jobs=1)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "data")


def examples_of(layout: Layout) -> pl.DataFrame:
    """Return the examples of the day's dataset."""
    return pl.read_parquet(build_dataset(layout, DAY, CONFIG).path / "examples.parquet")


def test_each_answer_contributes_the_same_length() -> None:
    assert joined_answers([None, "", "yes", "no"]) == "yes\nno"
    assert joined_answers([None]) is None
    long = joined_answers(["x" * 9_000] * 30)
    assert long is not None
    assert {len(part) for part in long.split("\n")} == {100}


def test_answers_of_examples_are_read_from_the_responses_of_their_days(layout: Layout) -> None:
    failed = point("failed", {"big": None, "coder": 0.7, "algebra": 0.2})
    failed["responses"]["big"] = response("big", answer="cut o", error="timeout")
    long = point("long", {"big": 0.5, "coder": 0.7})
    long["responses"] = {"big": response("big", answer="é" * 9_000), "coder": response("coder", answer="ü")}
    write_raw(layout, [point("first", {"big": 0.5, "coder": 0.7}), failed, long])
    build_day(layout)
    found = newest_answers(layout, examples_of(layout), 10)
    assert dict(found.iter_rows()) == {
        "first": "an answer of big\nan answer of coder",
        "failed": "an answer of algebra\nan answer of coder",
        "long": "é" * ANSWER_CHARS + "\nü",
    }


def test_no_more_answers_than_asked_for_are_read(layout: Layout) -> None:
    write_raw(layout, [point(f"point {number}", {"big": 0.5, "coder": 0.7}) for number in range(9)])
    build_day(layout)
    assert len(newest_answers(layout, examples_of(layout), 4)) == 4


def test_a_day_without_responses_teaches_nothing_and_a_damaged_one_is_refused(layout: Layout) -> None:
    write_raw(layout, [point("first", {"big": 0.5, "coder": 0.7})])
    build_day(layout)
    examples = examples_of(layout)
    layout.table("responses", DAY).write_bytes(b"PAR1 no longer")
    with pytest.raises(DatasetError, match="the responses of 2026-01-05"):
        newest_answers(layout, examples, 10)
    layout.table("responses", DAY).unlink()
    assert newest_answers(layout, examples, 10).is_empty()


def test_the_digest_tells_other_answers_apart() -> None:
    one = pl.DataFrame({"id": ["a", "b"], "answers": ["yes", "no"]})
    assert digest_of(one) == digest_of(one.reverse())
    assert digest_of(one) != digest_of(one.with_columns(answers=pl.Series(["no", "yes"])))
    shifted = [
        pl.DataFrame({"id": [identity], "answers": [text]}) for identity, text in (("ab", "c"), ("a", "bc"))
    ]
    assert digest_of(shifted[0]) != digest_of(shifted[1])


def test_questions_without_a_word_in_common_are_alike_if_their_answers_are() -> None:
    random = np.random.default_rng(0)
    words = [["".join(random.choice(list("abcdefghijklmnop"), 7)) for _ in range(120)] for _ in range(3)]
    subjects = random.integers(3, size=900)
    texts = [" ".join(random.choice(words[subject], 3)) for subject in subjects]
    answers = [
        " ".join([text, *(f"topic{subject}" for _ in range(3))])
        for text, subject in zip(texts, subjects, strict=True)
    ]
    plain = TextFeatures.fit(texts, dimensions=100, rows=900, seed=0)
    taught = TextFeatures.fit(texts, dimensions=100, rows=900, seed=0, answers=answers)
    fresh = [words[subject][number] for subject in range(3) for number in range(40)]
    assert likeness(taught, fresh) > 2 * likeness(plain, fresh)


def likeness(features: TextFeatures, texts: list[str]) -> float:
    """Return how much more alike the first 60 directions find texts of one subject than of two subjects."""
    rows = features.transform(texts)[0][:, :60]
    rows = rows - rows.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    own = np.repeat(np.arange(3), len(texts) // 3)
    alike, same = rows @ rows.T, own[:, None] == own
    return float(alike[same].mean() - alike[~same].mean())


def test_few_answers_change_nothing() -> None:
    texts = frame(300)["text"].to_list()
    plain = TextFeatures.fit(texts, dimensions=16, rows=300, seed=0)
    few = TextFeatures.fit(texts, dimensions=16, rows=300, seed=0, answers=["yes", *[None] * 299])
    np.testing.assert_array_equal(plain.directions, few.directions)


def test_a_router_taught_by_answers_decides_by_the_question_alone() -> None:
    rows = frame(700)
    examples = read_examples(rows.with_columns(answers=pl.col("text") + " indeed"), QUICK)
    trained = train_examples(examples, QUICK, version="v", categories=CATEGORIES).router
    again = train_examples(examples, QUICK, version="v", categories=CATEGORIES).router
    without = train_examples(
        replace(examples, answers=None), QUICK, version="v", categories=CATEGORIES
    ).router
    prompts = frame(60, seed=3)["text"].to_list()
    assert trained.decide_all(prompts) == again.decide_all(prompts)
    assert size(trained) > size(without)


def size(router: Router) -> int:
    assert router.features is not None
    return router.features.dimensions


def test_other_answers_make_another_version(layout: Layout) -> None:
    config = Config.model_validate({**CONFIG.model_dump(), "learning": QUICK.model_dump()})
    questions = [
        "what is " + "".join("abcdefghij"[int(digit)] for digit in str(number)) for number in range(60)
    ]
    write_raw(layout, [point(text, {"big": 0.5, "coder": 0.7}, text) for text in questions])
    build_day(layout)
    dataset = build_dataset(layout, DAY, config).version
    first = train_version(layout, dataset, config)
    assert train_version(layout, dataset, config) == first
    layout.table("responses", DAY).unlink()
    assert train_version(layout, dataset, config) != first
