"""A published version's figures on a dataset cover every test question whose outcomes are known."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from flywheel_core.lake.dataset import build_dataset
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import read_table
from flywheel_core.learn import evidence, example_rows
from flywheel_core.learn.artefact import load_router
from flywheel_core.learn.craft import (
    best_single_version,
    figures_on_dataset,
    figures_on_days,
    train_labels_version,
    trained_craft,
)
from flywheel_core.learn.example_rows import read_examples
from flywheel_core.learn.examples import Examples
from flywheel_core.learn.labels import train_labels
from flywheel_core.learn.nightly import run_night
from flywheel_core.report.evaluation import evaluation_page
from flywheel_core.report.verdict import not_compared
from tests.core.lake.lakes import CONFIG, DAY, build_day, point, response, with_dataset, write_raw
from tests.core.learn.small import publish_single


def test_questions_that_no_model_answers_well_enough_for_a_label_count(tmp_path: Path) -> None:
    """Leaving them out would flatter every policy, because a label is known only afterwards."""
    layout = Layout(tmp_path / "data")
    easy = [
        point(f"easy {number}", {"big": 0.9, "coder": 0.7}, question=f"easy {'x' * number}")
        for number in range(40)
    ]
    hard = [
        point(f"hard {number}", {"big": 0.1, "coder": 0.2}, question=f"hard {'x' * number}")
        for number in range(40)
    ]
    write_raw(layout, [*easy, *hard])
    build_day(layout)
    dataset = build_dataset(layout, DAY, CONFIG)
    tested = pl.read_parquet(dataset.path / "examples.parquet").filter(pl.col("split") == "test")
    hard_ones = tested.filter(pl.col("rule") == "below_min_score").height
    assert 0 < hard_ones < tested.height, "the test split holds questions of both kinds"
    version = publish_single(layout, "single", "big", ["big", "coder"])
    found = figures_on_dataset(layout, version, dataset.version, CONFIG)
    assert found["questions"] == tested.height
    expected = 0.9 - 0.8 * hard_ones / tested.height
    assert found["overall"]["routed"][0] == pytest.approx(expected)
    assert found["overall"] == figures_on_days(layout, version, [DAY], CONFIG)["overall"]


def test_a_model_that_gives_up_does_not_look_good_where_its_failures_leave_no_label(tmp_path: Path) -> None:
    """With two models, a question that one of them failed to answer has one score, and therefore no label."""
    layout = Layout(tmp_path / "data")
    answered = [
        point(f"a{number}", {"big": 0.7, "coder": 0.9}, question="a" * number) for number in range(1, 41)
    ]
    failed = [
        point(
            f"b{number}",
            {"big": 0.7},
            question="b" * number,
            responses={"big": response("big"), "coder": response("coder", answer="", error="gave up")},
        )
        for number in range(1, 41)
    ]
    write_raw(layout, [*answered, *failed])
    build_day(layout)
    dataset = build_dataset(layout, DAY, CONFIG)
    router = load_router(layout.router(best_single_version(layout, dataset.version, CONFIG)))
    assert router.decide("a question").model == "big"


def test_evened_out_labels_do_not_change_which_model_is_best(tmp_path: Path) -> None:
    """A label depends on the scores: with as many questions of each, a model would look better the rarer its wins."""
    layout = Layout(tmp_path / "data")
    write_raw(
        layout,
        [
            *(point(f"a{n}", {"big": 0.9, "coder": 0.6}, question="a" * n) for n in range(1, 151)),
            *(point(f"b{n}", {"big": 0.3, "coder": 0.9}, question="b" * n) for n in range(1, 51)),
        ],
    )
    build_day(layout)
    for balance in ("none", "downsample", "upsample"):
        config = with_dataset(balance=balance)
        dataset = build_dataset(layout, DAY, config)
        router = load_router(layout.router(best_single_version(layout, dataset.version, config)))
        assert router.decide("a question").model == "big", balance


def test_caps_on_sources_do_not_change_which_model_is_best(tmp_path: Path) -> None:
    """A second source that asks hardly any math must not thin out the math questions of the first."""
    layout = Layout(tmp_path / "data")
    asked = {("math", "first"): 150, ("talk", "first"): 130, ("math", "second"): 4, ("talk", "second"): 40}
    values: list[dict[str, Any]] = []
    for (kind, source), count in asked.items():
        for _ in range(count):
            scores = {"big": 0.5, "coder": 0.9} if kind == "math" else {"big": 0.8, "coder": 0.5}
            text = f"{kind} " + "".join("abcdefghij"[int(digit)] for digit in str(len(values)))
            values.append(point(f"p{len(values)}", scores, question=text, source=source))
    write_raw(layout, values)
    build_day(layout)
    for share in (1.0, 0.8):
        config = with_dataset(max_group_share=share, group_floor=0)
        dataset = build_dataset(layout, DAY, config)
        assert bool(dataset.manifest["group_caps"]) == (share < 1)
        router = load_router(layout.router(best_single_version(layout, dataset.version, config)))
        assert router.decide("a question").model == "coder", share


@pytest.mark.parametrize("balance", ["downsample", "upsample"])
def test_the_classifier_of_labels_learns_from_the_lines_of_the_dataset(tmp_path: Path, balance: str) -> None:
    """`train.jsonl` has as many lines of each label, left out or repeated."""
    layout, config = Layout(tmp_path / "data"), with_dataset(balance=balance)
    write_raw(
        layout,
        [
            *(point(f"a{n}", {"big": 0.9, "coder": 0.6}, question="a" * n) for n in range(1, 151)),
            *(point(f"b{n}", {"big": 0.3, "coder": 0.9}, question="b" * n) for n in range(1, 51)),
        ],
    )
    build_day(layout)
    dataset = build_dataset(layout, DAY, config)
    version = train_labels_version(layout, dataset.version, config)
    figures = json.loads((layout.router(version) / "router.json").read_bytes())["figures"]
    assert figures["labels"] == {"code": 0.5, "general": 0.5}
    assert figures["examples"] == len((dataset.path / "train.jsonl").read_bytes().splitlines())


def test_the_classifier_of_labels_learns_the_same_from_long_prompts_as_from_whole_texts(
    tmp_path: Path,
) -> None:
    """It holds excerpts of them; their length and what they are alike to are those of the whole texts."""
    layout, random = Layout(tmp_path / "data"), np.random.default_rng(0)
    letters = np.array(list("abcdefgh"))
    values = []
    for number in range(120):
        model = ("big", "coder")[number % 2]
        middle = " ".join("".join(random.choice(letters, 5)) for _ in range(300 + 10 * number))
        text = f"{model} {'same ' * 400}{middle}{' end' * 500}"
        scores = {"big": 0.5, "coder": 0.5} | {model: 0.9}
        values.append(point(f"p{number}", scores, question=text))
    write_raw(layout, values)
    build_day(layout)
    dataset = build_dataset(layout, DAY, CONFIG)
    found = load_router(layout.router(train_labels_version(layout, dataset.version, CONFIG)))
    rows = pl.read_parquet(dataset.path / "examples.parquet").filter(pl.col("split") == "train")
    texts, models = rows["text"].to_list(), {"big": "general", "coder": "code"}
    expected = train_labels(texts, rows["label"].to_list(), models, CONFIG.learning, version="whole").router
    assert found.features and expected.features
    np.testing.assert_array_equal(found.features.centre, expected.features.centre)
    assert found.policy == expected.policy


def test_an_evaluation_says_how_many_questions_are_not_compared_and_since_when(tmp_path: Path) -> None:
    """Once training mode gives way to `production.baseline`, no new question is compared: it must be said."""
    layout = Layout(tmp_path / "data")
    later = DAY + timedelta(days=1)
    both = [point(f"a{n}", {"big": 0.7, "coder": 0.9}, question="a" * n) for n in range(1, 41)]
    one = [point(f"b{n}", {"big": 0.1}, question="b" * n) for n in range(1, 41)]
    for day, lines in ((DAY, both), (later, one)):
        write_raw(layout, lines, day=day)
        build_day(layout, day)
    version = publish_single(layout, "single", "big", ["big", "coder"])
    tested = {
        day: read_table(layout, "training_examples", [day]).filter(pl.col("split") == "test").height
        for day in (DAY, later)
    }
    found = figures_on_days(layout, version, [DAY, later], CONFIG)
    assert (found["questions"], found["left_out"]) == (tested[DAY], tested[later])
    assert found["days"] == [DAY.isoformat(), DAY.isoformat(), later.isoformat()]
    said = not_compared(found)
    assert said.startswith(f"{tested[later]} further questions are not compared")
    assert f"the newest question is from {later}" in said
    assert said in evaluation_page(found, questions="the test split")
    alone = figures_on_days(layout, version, [DAY], CONFIG)
    assert (alone["left_out"], not_compared(alone)) == (0, f"The compared ones are from {DAY} to {DAY}.")


def test_models_that_a_source_invents_take_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each model is a column: with a new name in each answer, memory would grow with the square of the examples."""
    layout = Layout(tmp_path / "data")
    write_raw(
        layout,
        [
            point(f"{number}", {"big": 0.9, "coder": 0.5, f"invented {number}": 0.1}, question="x" * number)
            for number in range(1, 201)
        ],
    )
    build_day(layout)
    dataset = build_dataset(layout, DAY, CONFIG).version
    columns: list[tuple[str, ...]] = []

    def noting(*given: Any, **named: Any) -> Examples:
        found = read_examples(*given, **named)
        columns.append(found.models)
        return found

    monkeypatch.setattr(example_rows, "read_examples", noting)
    monkeypatch.setattr(evidence, "read_examples", noting)
    craft = trained_craft()
    challenger = craft.train(layout, dataset, CONFIG)
    assert craft.evaluate(layout, challenger, dataset, CONFIG)["questions"] > 20
    run_night(layout, challenger, dataset, DAY, CONFIG, craft, by="tests")
    assert len(columns) == 4, "trained, evaluated, the best single model, judged"
    assert set(columns) == {("big", "coder")}
