"""The queries of docs/data.md run as printed and answer their questions."""

import re
from datetime import date
from typing import Any

import pytest

from flywheel_core.lake.dataset import build_dataset
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.views import connect
from tests.core.lake.lakes import CONFIG, DAY, build_day, point, response, write_raw
from tests.core.lake.test_documents import TEXT

SECTION = TEXT.partition("## Questions that the tables answer")[2].partition("\n## ")[0]
DAY_TWO = date(2026, 1, 6)


def query(question: str, number: int = 0) -> str:
    """Return the `number`-th query of a question, with a model of these tests in place of the page's."""
    asked = SECTION.partition(f"**{question}**")[2].partition("\n**")[0]
    queries: list[str] = re.findall(r"^```sql\n(.*?)^```", asked, re.MULTILINE | re.DOTALL)
    return queries[number].replace("qwen-max", "big")


@pytest.fixture
def filled(layout: Layout) -> Layout:
    """Two days; on the second, a router chose, `coder` failed once, and repeated answers got other scores than before."""
    decided = {
        "category": "math",
        "confidence": 0.9,
        "model": "algebra",
        "router_version": "r1",
        "reason": "router",
    }
    routed = {"classification": decided, "served_model": "algebra", "decision_id": "d1"}
    scores = {"big": 0.9, "algebra": 0.6, "coder": 0.7}
    later = {"big": 0.5, "algebra": 0.8, "coder": None}
    failed = {name: response(name) for name in later} | {
        "coder": response("coder", answer=None, error="timeout")
    }
    write_raw(layout, [point("a", scores, "alike?"), point("b", {"big": 0.2, "coder": 0.9})])
    write_raw(
        layout,
        [
            point("c", later, "Alike?", responses=failed, timestamp=1_767_657_600, **routed),
            point("d", scores, "other?", timestamp=1_767_657_600, **routed),
        ],
        DAY_TWO,
    )
    for day in (DAY, DAY_TWO):
        build_day(layout, day)
    build_dataset(layout, DAY_TWO, CONFIG)
    return layout


def answer(layout: Layout, question: str, number: int = 0) -> list[tuple[Any, ...]]:
    with connect(layout, CONFIG) as connection:
        return connection.execute(query(question, number)).fetchall()


def test_a_lost_share_is_traced_to_the_model_or_to_who_asks(filled: Layout) -> None:
    by_model = answer(filled, "Why did a category lose share?")
    assert [row[:2] for row in by_model] == [(DAY, "coder"), (DAY_TWO, "coder")]
    assert [row[4] for row in by_model] == [0.0, 0.5], "the failure rate"
    by_source = answer(filled, "Why did a category lose share?", 1)
    assert by_source == [(DAY, "gateway-1", None, 2, 1), (DAY_TWO, "gateway-1", None, 2, 0)]


def test_wrong_choices_are_those_with_a_better_answer_the_worst_first(filled: Layout) -> None:
    rows = answer(filled, "Which questions did the router get wrong?")
    assert [(row[1], row[2], row[3], round(row[4], 6)) for row in rows] == [
        ("d", "algebra", "big", 0.3),
        ("c", "algebra", "algebra", 0.0),
    ]


def test_a_model_is_worth_what_the_best_choice_would_lose_without_it(filled: Layout) -> None:
    rows = {model: (best, round(lost, 6)) for model, best, lost in answer(filled, "Which model could go?")}
    # the mean scores of "alike?" are big 0.7, algebra 0.7 and coder 0.35, since its failure counts as 0; ties go by name
    assert rows["coder"] == (1, round(0.7 / 3, 6))
    assert rows["big"] == (1, round(0.2 / 3, 6))
    assert rows["algebra"] == (1, 0.0)


def test_what_routing_saved_is_beside_one_model_for_everything(filled: Layout) -> None:
    ((month, questions, score, single, paid, paid_single),) = answer(
        filled, "What did routing save this month?"
    )
    assert (month, questions, paid, paid_single) == ("2026-01", 2, 0.5, 0.5)
    assert (round(score, 6), round(single, 6)) == (0.7, 0.7)


def test_a_changed_scorer_shows_in_the_scores_of_the_same_answers(filled: Layout) -> None:
    rows = answer(filled, "Did the scorer change?")
    assert [(day, model, count, round(change, 6)) for day, model, count, change in rows] == [
        (DAY_TWO, "algebra", 1, 0.2),
        (DAY_TWO, "big", 1, -0.4),
    ]


def test_a_training_row_leads_to_its_raw_lines(filled: Layout) -> None:
    rows = answer(filled, "Where does a training row come from?")
    assert [(row[0], row[1]) for row in rows] == [("a", "a"), ("a", "c"), ("b", "b"), ("d", "d")]
    for _, point_id, raw_file, offset in rows:
        line = (filled.raw / raw_file).read_bytes()[offset:].split(b"\n")[0]
        assert f'"id": "{point_id}"'.encode() in line
