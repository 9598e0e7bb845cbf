"""The questions that a challenger is judged on, and what each router would have scored on them."""

import hashlib
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel_core.config_promotion import Promotion
from flywheel_core.errors import StorageError
from flywheel_core.lake.layout import Layout, day_of
from flywheel_core.lake.schemas import TABLES
from flywheel_core.learn.evidence import AsServed, fresh_questions, gains_of
from flywheel_core.learn.promote import judge
from flywheel_core.learn.promotion_log import Looks
from flywheel_core.learn.settings import Learning
from tests.core.learn import toy


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def write_questions(layout: Layout, day: date, count: int) -> None:
    """Write a table of training examples with `count` test questions of a day, the same ones every day."""
    midnight = (day - date(1970, 1, 1)).days * 86_400.0
    rows = [
        {"text": f"question {'ab'[at % 2] * (at + 1)}", "split": "test", "received_at": midnight + at}
        for at in range(count)
    ]
    path = layout.table("training_examples", day)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=TABLES["training_examples"]), path)


def test_a_night_costs_no_more_the_longer_a_champion_serves(layout: Layout) -> None:
    """Days before the newest `max_questions` are not even read, and a busy day leaves room for the others."""
    few = Promotion(max_questions=1_000, window_days=2)
    first, second, third, fourth = toy.days(4)
    for day, count in zip((second, third, fourth), (600, 600, 100), strict=True):
        write_questions(layout, day, count)
    damaged = layout.table("training_examples", first)
    damaged.write_bytes(b"not to be read")
    found = fresh_questions(layout, None, fourth, few)
    moments = found["received_at"].to_list()
    assert moments == sorted(moments)
    assert Counter(day_of(moment) for moment in moments) == {fourth: 100, third: 500, second: 400}
    assert found.equals(fresh_questions(layout, None, fourth, few))
    with pytest.raises(StorageError, match="training_examples"):
        fresh_questions(layout, None, fourth, Promotion(max_questions=2_000, window_days=2))


def test_alike_questions_are_drawn_together_from_whichever_part_of_a_day(layout: Layout) -> None:
    days = toy.days(3)
    for day in days:
        write_questions(layout, day, 900)
    found = fresh_questions(layout, None, days[-1], Promotion(max_questions=1_000))
    oldest, middle, newest = (
        found.filter(pl.col("received_at").map_elements(day_of, return_dtype=pl.Date) == day) for day in days
    )
    assert [rows.height for rows in (oldest, middle, newest)] == [332, 334, 334]
    assert set(oldest["text"]) < set(middle["text"]) == set(newest["text"])
    places = newest["received_at"] % 86_400
    assert places.min() < 100 < 800 < places.max()  # type: ignore[operator]  # a column of floats


def row(text: str, *outcomes: tuple[str, float | None, bool]) -> dict[str, object]:
    """Return a question with the (model, score, failed) of each model that was asked."""
    fields = ("model", "score", "failed", "cost", "latency_ms")
    return {
        "text": text,
        "outcomes": [dict(zip(fields, (*one, 2.0, 500.0), strict=True)) for one in outcomes],
    }


def test_questions_that_differ_in_case_white_space_and_digits_are_one_entry() -> None:
    """The bound assumes independent entries, and questions made from one template are not independent."""
    texts = ["Solve x + 12 = 40", "solve  x + 70 = 99", "SOLVE X+10=21", "another"]
    gained = [0.3, 0.6, 0.0, 0.2]
    questions = pl.DataFrame(
        [
            row(text, ("a", 0.1, False), ("b", 0.1 + gain, False))
            for text, gain in zip(texts, gained, strict=True)
        ]
    )
    found = gains_of(questions, toy.ToyRouter("a", "a", {}), toy.ToyRouter("b", "b", {}), Learning())
    assert found.gains == pytest.approx([0.3, 0.2])
    assert list(found.slices) == ["of a", "of a"]


def test_entries_say_which_they_are_alike_and_on_which_day_they_came() -> None:
    both = [("a", 0.2, False), ("b", 0.4, False)]
    order = "Write a short and friendly product description of {} for our shop."
    came = [(order.format("a kettle"), 10.0), ("How do I sharpen a kitchen knife?", 20.0)]
    came += [(order.format("an umbrella"), 86_000.0), (order.format("a violin"), 90_000.0)]
    questions = pl.DataFrame([{**row(text, *both), "received_at": moment} for text, moment in came])
    found = gains_of(questions, toy.ToyRouter("a", "a", {}), toy.ToyRouter("b", "b", {}), Learning())
    assert found.alike is not None
    assert found.alike.tolist() == [[0, 0], [1, 0], [0, 0], [0, 1]]
    part = found.pick(np.array([1, 3]))
    assert part.alike is not None and part.alike.tolist() == [[1, 0], [0, 1]]


def test_a_batch_of_alike_questions_proves_no_more_than_a_few_different_ones() -> None:
    """Fifty orders, each about twenty things, and on two orders of three the new router gains on all of them."""
    words = np.random.default_rng(0).integers(97, 123, (50, 60)).astype(np.uint8)
    rows = [
        row(f"{bytes(order).decode()} {thing}", ("a", 0.5, False), ("b", 0.5 + gain, False))
        for order, gain in zip(words, [0.5, 0.5, -0.5] * 16 + [0.5, -0.5], strict=True)
        for thing in "abcdefghijklmnopqrst"
    ]
    found = gains_of(pl.DataFrame(rows), toy.ToyRouter("a", "a", {}), toy.ToyRouter("b", "b", {}), Learning())
    assert len(found.gains) == 1_000
    assert judge(found, Looks(taken=5), Promotion()).outcome == "rejected"


def test_a_model_that_gives_up_loses_and_a_scorer_that_fails_counts_for_nobody(layout: Layout) -> None:
    questions = pl.DataFrame(
        [
            row("gave up", ("a", None, True), ("b", 0.6, False)),
            row("not scored", ("a", None, False), ("b", 1.0, False)),
            row("not asked", ("b", 1.0, False)),
            row("asked twice", ("a", 0.2, False), ("b", 0.4, False)),
            row("asked twice", ("a", 0.2, False), ("b", 0.8, False)),
        ]
    )
    only = {name: toy.ToyRouter(name, name, {}) for name in "ab"}
    found = gains_of(questions, only["a"], only["b"], Learning())
    assert found.gains == pytest.approx([0.6, 0.4])
    assert list(found.slices) == ["of a", "of a"]
    dear = gains_of(questions, only["a"], only["b"], Learning(failure_score=0.5, lambda_cost=0.1))
    assert dear.gains[0] == pytest.approx(0.1)


def test_a_model_that_is_no_longer_configured_is_replaced_by_the_default() -> None:
    router = AsServed(toy.ToyRouter("r", "a", {"code": "gone"}), ["a", "b"], "b")
    assert [choice.model for choice in router.decide_all(["story one", "code two"])] == ["a", "b"]
    assert [choice.category for choice in router.decide_all(["code two"])] == ["of gone"]
    assert router.gone == {"gone"}


def test_a_question_counts_as_received_when_it_last_came() -> None:
    both = [("a", 0.2, False), ("b", 0.4, False)]
    questions = pl.DataFrame(
        [
            {**row(text, *both), "received_at": moment}
            for text, moment in (("again", 10.0), ("again", 30.0), ("again", 20.0), ("once", 5.0))
        ]
    )
    found = gains_of(questions, toy.ToyRouter("a", "a", {}), toy.ToyRouter("b", "b", {}), Learning())
    assert found.received is not None and found.received.tolist() == [30.0, 5.0]


def chosen_only(since: float = 0.0) -> pl.DataFrame:
    """Return 1,000 questions for which `a` was always asked, and `b` only where the champion chose it.

    The champion chose `b` for the fifth of the questions that is about code, from number `since` on.
    """
    rows = []
    for number in range(1_000):
        code, name = number % 5 == 0, hashlib.sha256(f"{number}".encode()).hexdigest()
        asked = [("a", 0.4 if code else 0.8), *([("b", 0.9)] if code and number >= since else [])]
        fields = ("model", "score", "failed", "cost", "latency_ms", "asked")
        outcomes = [dict(zip(fields, (*one, False, 0.0, 1.0, 1.0), strict=True)) for one in asked]
        kind = ("code odd" if number % 50 == 0 else "code") if code else "story"
        rows.append(
            {"text": f"{kind.replace(' ', '_')} {name}", "outcomes": outcomes, "received_at": float(number)}
        )
    return pl.DataFrame(rows)


def test_a_model_that_was_asked_only_where_it_is_good_is_promoted_for_nothing_else() -> None:
    """The few questions with known outcomes would favour asking it always; for the others nobody knows."""
    champion = toy.ToyRouter("now", "a", {"code": "b"})
    always = gains_of(chosen_only(), champion, toy.ToyRouter("all", "b", {}), Learning())
    assert always.gains.min() >= 0 and always.gains.mean() > 0.04
    verdict = judge(always, Looks(), Promotion(min_slice_questions=1_000))
    assert (verdict.outcome, verdict.look) == ("not_yet", None)
    assert "only 2% are known" in verdict.reason
    more = gains_of(
        chosen_only(), champion, toy.ToyRouter("more", "a", {"code": "b", "code_odd": "b"}), Learning()
    )
    assert judge(more, Looks(), Promotion()).outcome == "promoted"


def test_questions_from_before_a_model_was_there_do_not_count_as_unknown() -> None:
    single, challenger = toy.ToyRouter("a", "a", {}), toy.ToyRouter("b", "a", {"code": "b", "code_odd": "b"})
    found = gains_of(chosen_only(since=700), single, challenger, Learning())
    assert found.told() == 1.0
    assert judge(found, Looks(), Promotion()).outcome == "promoted"


def by_chance(loss: float) -> pl.DataFrame:
    """Return 4,000 questions as `production.baseline` collects them.

    `a` is always asked, and one of four others is drawn, each for a quarter of the questions. On the fifth of
    them that is about code, `b` scores `loss` less than `a`.
    """
    rows = []
    for number in range(4_000):
        name = hashlib.sha256(f"{number}".encode()).hexdigest()
        drawn = "bcde"[number // 5 % 4]
        asked = [("a", 0.8, 1.0), (drawn, 0.8 - loss, 0.25)]
        outcomes = [
            {"model": model, "score": score, "failed": False, "cost": 0.0, "latency_ms": 1.0, "asked": share}
            for model, score, share in asked
        ]
        rows.append({"text": f"{'story' if number % 5 else 'code'} {name}", "outcomes": outcomes})
    return pl.DataFrame(rows)


def test_a_question_whose_model_was_drawn_stands_for_those_where_it_was_not() -> None:
    """Otherwise a loss would seem a quarter of its size, and pass for no loss once the champion is old."""
    champion, challenger = toy.ToyRouter("a", "a", {}), toy.ToyRouter("b", "a", {"code": "b"})
    found = gains_of(by_chance(0.1), champion, challenger, Learning())
    assert len(found.gains) == 3_400
    assert found.shares().mean() == pytest.approx(-0.02)
    verdict = judge(found, Looks(), Promotion(), champion_age_days=90)
    assert verdict.outcome == "rejected"
    assert verdict.mean == pytest.approx(-0.02)
    assert judge(found, Looks(), Promotion(age_margin=0.03), champion_age_days=90).outcome == "promoted"


def test_a_repeated_question_counts_once_however_rarely_its_model_was_drawn() -> None:
    often = by_chance(0.1).head(60).with_columns(pl.lit("code again").alias("text"))
    found = gains_of(
        pl.concat([often, by_chance(0.1)]),
        toy.ToyRouter("a", "a", {}),
        toy.ToyRouter("b", "a", {"code": "b"}),
        Learning(),
    )
    assert found.weights is not None
    assert found.gains[0] == pytest.approx(-0.1)
    assert found.weights[0] == pytest.approx(1.0)
