"""Which questions a training sees: none of the test split, and of too many those with the lowest hashes."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flywheel_core.learn.train
from flywheel_core.config import Config
from flywheel_core.errors import NoDataError
from flywheel_core.lake.atomic import write_atomically
from flywheel_core.lake.columns import question_key, split_of
from flywheel_core.lake.dataset import build_dataset
from flywheel_core.lake.dataset_files import EXAMPLES_FILE
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import DAILY_TABLES, build_table
from flywheel_core.learn.artefact import load_router
from flywheel_core.learn.craft import best_single_version, train_labels_version, train_version
from flywheel_core.learn.examples import Examples
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.train import train_examples
from flywheel_core.records import DataPoint, Response, encode_point
from tests.core.lake import lakes
from tests.core.learn import toy


def test_beyond_the_maximum_training_takes_the_examples_with_the_lowest_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are the same whenever it is trained, and come from all days of the window alike."""
    layout, config = Layout(tmp_path), toy.config(tmp_path)
    dataset = toy.make_day(layout, config, toy.FIRST, 1_600)
    seen: list[list[str]] = []

    def trained(examples: Examples, *arguments: Any, **options: Any) -> Any:
        seen.append(examples.texts)
        return train_examples(examples, *arguments, **{**options, "single": True})

    monkeypatch.setattr(flywheel_core.learn.train, "train_examples", trained)
    few = config.model_copy(update={"learning": Learning(max_examples=1_000)})
    versions = [train_version(layout, dataset, one) for one in (few, config)]
    assert versions[0] != versions[1]
    drawn, whole = seen
    assert len(drawn) == 1_000 < len(whole)
    lowest = set(sorted(whole, key=question_key)[:1_000])
    assert drawn == [text for text in whole if text in lowest]


def _best_single_of(tmp_path: Path, questions: Sequence[tuple[str, int]]) -> str:
    """Return the best single model of a day of questions.

    Each question comes with the index of the one model that answers it well.
    """
    layout, config = Layout(tmp_path), toy.config(tmp_path)
    lines = []
    for number, (text, winner) in enumerate(questions):
        moment = (toy.FIRST.toordinal() - 719_163) * 86_400 + number
        point = DataPoint(
            str(number),
            text,
            {model: Response(model, answer="an answer") for model in toy.MODELS},
            {model: float(at == winner) for at, model in enumerate(toy.MODELS)},
            moment,
            received_at=float(moment),
        )
        lines.append(encode_point(point) + b"\n")
    write_atomically(layout.raw_file(toy.FIRST), b"".join(lines))
    ingest_day(layout, toy.FIRST, config)
    for name in DAILY_TABLES[2:]:
        build_table(layout, name, toy.FIRST, config)
    version = best_single_version(layout, build_dataset(layout, toy.FIRST, config).version, config)
    return load_router(layout.router(version)).best_single


def _texts() -> Iterator[str]:
    """Yield questions endlessly, no two of them alike."""
    for number in itertools.count(1):
        yield " ".join("abcdefghijklmnop"[digit] for digit in map(int, str(number)))


@pytest.mark.parametrize(
    ("train", "outside", "splits"),
    [
        (train_version, {"test", "validation"}, "train"),
        (train_labels_version, {"test"}, "train"),
        (best_single_version, {"test"}, "train or validation"),
    ],
)
def test_questions_that_all_fell_outside_the_splits_of_training_are_said_to_be(
    tmp_path: Path, train: Callable[[Layout, str, Config], str], outside: set[str], splits: str
) -> None:
    """A first day of few questions: who is told that scores are missing looks for the wrong fault."""
    layout = Layout(tmp_path / "data")
    asked = [text for number in range(99) if split_of(text := f"asked {'x' * number}") in outside]
    lakes.write_raw(layout, [lakes.point(text, {"big": 0.9, "coder": 0.7}, question=text) for text in asked])
    lakes.build_day(layout)
    dataset = build_dataset(layout, lakes.DAY, lakes.CONFIG).version
    with pytest.raises(NoDataError) as caught:
        train(layout, dataset, lakes.CONFIG)
    assert caught.value.message == (
        f"there is nothing to train on: of the {len(asked)} examples of dataset {dataset} none is in {splits}"
    )
    assert "collect more questions" in str(caught.value.hint)


def test_the_best_single_model_rests_on_all_but_the_test_questions(tmp_path: Path) -> None:
    """The coder leads in the training and validation splits together.

    In the training split alone, and in all three splits together, the other model leads.
    """
    wins = {"train": [6, 5], "validation": [0, 3], "test": [9, 0]}
    questions, texts = [], _texts()
    while any(map(any, wins.values())):
        text = next(texts)
        left = wins[split_of(text)]
        if not any(left):
            continue
        winner = 0 if left[0] else 1
        left[winner] -= 1
        questions.append((text, winner))
    assert _best_single_of(tmp_path, questions) == "coder"


def test_one_question_asked_a_thousand_times_does_not_decide_the_best_model(tmp_path: Path) -> None:
    """A client that repeats one question, by mistake or on purpose, does not outweigh twelve others.

    However often it is asked, one question weighs at most ten.
    """
    texts = [text for text in itertools.islice(_texts(), 40) if split_of(text) == "train"][:13]
    assert (
        _best_single_of(tmp_path, [*((text, 0) for text in texts[1:]), *[(texts[0], 1)] * 1_000])
        == "all-round"
    )


@pytest.mark.parametrize(("train", "split"), [(train_version, "train"), (best_single_version, None)])
def test_of_more_examples_than_are_used_those_with_the_lowest_hashes_are(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    train: Callable[[Layout, str, Config], str],
    split: str | None,
) -> None:
    """A longer window costs no more, and the same questions stay in use while it moves."""
    layout, config = Layout(tmp_path), toy.config(tmp_path)
    learning = config.learning.model_copy(update={"max_examples": 40})
    dataset = toy.make_day(layout, config, toy.FIRST, 200)
    examples = pl.read_parquet(layout.dataset(dataset) / EXAMPLES_FILE).filter(pl.col("split") != "test")
    used = examples.filter(pl.col("split") == split) if split else examples
    lowest = set(used.sort("question_key")["text"].head(40))
    seen: list[str] = []

    def trained(examples: Examples, *arguments: Any, **options: Any) -> Any:
        seen.extend(examples.texts)
        return train_examples(examples, *arguments, **{**options, "single": True})

    monkeypatch.setattr(flywheel_core.learn.train, "train_examples", trained)
    train(layout, dataset, config.model_copy(update={"learning": learning}))
    assert seen == [text for text in used["text"] if text in lowest]


words = st.sampled_from(["What is", "Add", "write CODE for", "水的沸点是", "a  poem\tabout", "Sort"])


questions = st.lists(st.tuples(words, st.integers(0, 999), st.integers(0, 2)), min_size=20, max_size=60)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=questions)
def test_no_question_of_the_test_split_reaches_a_training_on_any_day(
    asked: list[tuple[str, int, int]],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Training sees neither the question nor one that differs in digits, case or white space.

    The recorded canary does not hold the question either.
    """
    root = tmp_path_factory.mktemp("days")
    layout, config = Layout(root), toy.config(root)
    seen: list[str] = []

    def trained(examples: Examples, *arguments: Any, **options: Any) -> Any:
        seen.extend(examples.texts)
        return train_examples(examples, *arguments, **{**options, "single": True})

    monkeypatch.setattr(flywheel_core.learn.train, "train_examples", trained)
    for ahead in range(3):
        day = toy.FIRST + timedelta(days=ahead)
        lines = [line(day.toordinal(), number, one) for number, one in enumerate(asked) if one[2] == ahead]
        write_atomically(layout.raw_file(day), b"".join(lines))
        ingest_day(layout, day, config)
        for name in DAILY_TABLES[2:]:
            build_table(layout, name, day, config)
        dataset = build_dataset(layout, day, config)
        if not any(count for count in dataset.manifest["counts"].values()):
            continue
        seen.clear()
        try:
            version = train_version(layout, dataset.version, config)
        except NoDataError:
            continue  # no training question yet
        assert seen
        assert {split_of(text) for text in seen} == {"train"}
        canary = json.loads((layout.router(version) / "canary.json").read_bytes())["decisions"]
        assert {split_of(decision["prompt"]) for decision in canary} <= {"validation"}


def line(ordinal: int, number: int, asked: tuple[str, int, int]) -> bytes:
    moment = (ordinal - 719_163) * 86_400 + number
    question = f"{asked[0]} {asked[1]}"
    point = DataPoint(
        f"{ordinal}-{number}",
        question if number % 2 else question.upper(),
        {model: Response(model, answer="an answer") for model in toy.MODELS},
        {model: float((number + at) % 2) for at, model in enumerate(toy.MODELS)},
        moment,
        source="tests",
        received_at=float(moment),
    )
    return encode_point(point) + b"\n"
