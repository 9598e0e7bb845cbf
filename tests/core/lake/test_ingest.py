"""A day's raw files become `responses` and `rejects`: nothing is lost and everything is counted."""

import gzip
import json
from datetime import date
from typing import Any

import pyarrow.parquet as pq
import pytest

from flywheel_core.lake import ingest
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.parquet import read_note
from flywheel_core.lake.schemas import REJECTS, RESPONSES
from flywheel_core.lake.tables import read_table
from tests.core.lake.lakes import CONFIG, DAY, LATER, contents, line, point, response, write_raw

GO_POINT = {
    "Question": "x + 1 = 2",
    "Responses": {
        "big": {"Model": "big", "Answer": "1", "Latency": 420, "Error": None, "RawResponse": {"id": "a"}},
        "algebra": {"Model": "algebra", "Answer": "", "Latency": 5000, "Error": {}, "RawResponse": None},
    },
    "Scores": {"big": 0.75, "algebra": -1},
    "Timestamp": 1_767_571_200,
    "Classification": None,
}


def test_a_point_becomes_one_row_for_each_model_that_can_be_traced(layout: Layout) -> None:
    first = point("a", {"big": 0.5})
    second = point(
        "b",
        {"big": 0.25, "algebra": None, "coder": 0.5},
        question="¿Qué? 什么",
        tenant="school",
        user="u1",
        prompt_rule="last-user-1",
        mode="training",
        sampling_rate=0.5,
        decision_id="d-1",
        served_model="big",
        asked={"big": 1.0, "algebra": 0.25},
        score_reasons={"algebra": "scorer_timeout"},
        score_spreads={"big": 0.125},
        classification={
            "category": "math",
            "confidence": 0.875,
            "model": "algebra",
            "reason": "router",
            "router_version": "r-7",
        },
    )
    second["responses"]["coder"] = response("coder", answer=None, error="timeout", latency_ms=None, cost=None)
    path = write_raw(layout, [first, second])
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.lines, result.accepted, result.responses.rows) == (2, 2, 4)
    rows = read_table(layout, "responses").to_dicts()
    assert [(row["point"], row["position"], row["model"]) for row in rows] == [
        (0, 0, "big"),
        (1, 0, "big"),
        (1, 1, "algebra"),
        (1, 2, "coder"),
    ]
    big, algebra, coder = rows[1:]
    raw = path.read_bytes()
    assert json.loads(raw[big["byte_offset"] :].split(b"\n")[0])["id"] == "b"
    assert big == {
        "day": DAY,
        "point": 1,
        "raw_file": path.name,
        "data_point_id": "b",
        "byte_offset": len(line(first)),
        "source": "gateway-1",
        "tenant": "school",
        "user": "u1",
        "received_at": 1_767_571_260.5,
        "timestamp": 1_767_571_200,
        "question": "¿Qué? 什么",
        "question_key": big["question_key"],
        "split": big["split"],
        "prompt_rule": "last-user-1",
        "mode": "training",
        "sampling_rate": 0.5,
        "decision_id": "d-1",
        "served_model": "big",
        "router_version": "r-7",
        "predicted_model": "algebra",
        "predicted_category": "math",
        "confidence": 0.875,
        "decision_reason": "router",
        "position": 0,
        "model": "big",
        "answer": "an answer of big",
        "latency_ms": 100,
        "cost": 0.25,
        "finish_reason": None,
        "error": None,
        "failed": False,
        "failure_reason": None,
        "score": 0.25,
        "score_reason": None,
        "score_spread": 0.125,
        "asked": 1.0,
    }
    assert (algebra["score"], algebra["score_reason"], algebra["failed"]) == (None, "scorer_timeout", False)
    assert (coder["failed"], coder["failure_reason"], coder["error"]) == (True, "error", "timeout")
    assert (coder["score"], coder["score_reason"]) == (None, "response_failed")


@pytest.mark.parametrize(
    ("answer", "score", "failure", "reason"),
    [
        (response("big"), 0.0, None, None),
        (response("big"), None, None, "score_null"),
        (response("big", answer=" \n"), 0.5, "answer_empty", "response_failed"),
        (response("big", answer=""), None, "answer_empty", "response_failed"),
        (response("big", answer=None), None, "answer_missing", "response_failed"),
        (response("big", answer=None), 0.5, None, None),
        (response("big", error="429"), 0.5, "error", "response_failed"),
    ],
)
def test_a_models_failure_and_a_scorers_failure_are_two_things(
    layout: Layout, answer: dict[str, Any], score: float | None, failure: str | None, reason: str | None
) -> None:
    write_raw(layout, [point("a", {"big": score}, responses={"big": answer})])
    ingest_day(layout, DAY, CONFIG, today=LATER)
    (row,) = read_table(layout, "responses").to_dicts()
    assert (row["failure_reason"], row["failed"]) == (failure, failure is not None)
    assert (row["score"], row["score_reason"]) == (None if failure else score, reason)


def test_a_point_without_responses_keeps_a_row(layout: Layout) -> None:
    write_raw(layout, [point("a", {})])
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    (row,) = read_table(layout, "responses").to_dicts()
    assert (result.accepted, row["data_point_id"], row["model"], row["failed"]) == (1, "a", None, None)


def test_a_score_without_response_keeps_a_row(layout: Layout) -> None:
    write_raw(layout, [point("a", {"big": 0.5, "coder": 0.25}, responses={"big": response("big")})])
    ingest_day(layout, DAY, CONFIG, today=LATER)
    rows = read_table(layout, "responses").to_dicts()
    assert [(row["model"], row["score"], row["answer"]) for row in rows] == [
        ("big", 0.5, "an answer of big"),
        ("coder", 0.25, None),
    ]


def test_files_of_the_reference_service_are_read(layout: Layout) -> None:
    lower = {key.lower(): value for key, value in GO_POINT.items()}
    write_raw(layout, [GO_POINT, {**lower, "question": "another"}])
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.accepted, result.rejected) == (2, 0)
    rows = read_table(layout, "responses").to_dicts()
    assert [(row["model"], row["latency_ms"], row["failure_reason"], row["score"]) for row in rows] == [
        ("big", 420, None, 0.75),
        ("algebra", 5000, "error", None),
    ] * 2
    assert rows[0]["data_point_id"].startswith("sha256-")


DECISION = {
    "category": "math",
    "confidence": 0.875,
    "model": "algebra",
    "reason": "router",
    "router_version": "r-7",
}


@pytest.mark.parametrize(
    ("classification", "expected"),
    [
        ({}, [None] * 5),
        ({"confidence": 1.5, "category": 3, "model": None}, [None] * 5),
        (DECISION, ["math", 0.875, "algebra", "router", "r-7"]),
        (
            {"Category": "math", "Confidence": 1, "Model": "algebra", "Reason": "", "RouterVersion": "r-7"},
            ["math", 1.0, "algebra", "", "r-7"],
        ),
        ({"category": "math", "routerVersion": "r-7"}, ["math", None, None, None, "r-7"]),
    ],
)
def test_a_decision_may_have_any_fields_in_every_spelling(
    layout: Layout, classification: dict[str, object], expected: list[object]
) -> None:
    """What is no decision's field, or not of its type or range, is null; no decision stops its day."""
    go_point = {**GO_POINT, "Classification": classification}
    write_raw(layout, [point("a", {"big": 0.5}, classification=classification), go_point])
    assert ingest_day(layout, DAY, CONFIG, today=LATER).accepted == 2
    columns = ["predicted_category", "confidence", "predicted_model", "decision_reason", "router_version"]
    rows = read_table(layout, "responses").select(columns).rows()
    assert [list(row) for row in rows] == [expected] * 3


def test_a_day_without_files_gives_empty_tables_with_their_columns(layout: Layout) -> None:
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.lines, result.responses.rows, result.rejects.rows, result.files) == (0, 0, 0, ())
    assert read_table(layout, "responses").columns == RESPONSES.names
    assert read_table(layout, "rejects").columns == REJECTS.names


def test_unknown_models_are_named(layout: Layout) -> None:
    write_raw(layout, [point("a", {"big": 0.5, "stranger": 0.5, "nameless": 0.5})])
    assert ingest_day(layout, DAY, CONFIG, today=LATER).unknown_models == ("nameless", "stranger")


def test_figures_too_large_for_a_column_do_not_stop_the_day(layout: Layout) -> None:
    answer = response("big", latency_ms=10**25, cost=1e300)
    write_raw(layout, [point("a", {"big": 0.5}, responses={"big": answer}, received_at=1e300)])
    ingest_day(layout, DAY, CONFIG, today=LATER)
    (row,) = read_table(layout, "responses").to_dicts()
    assert (row["latency_ms"], row["cost"], row["received_at"]) == (2**63 - 1, 1e300, 1e300)


def test_counts_are_noted_in_the_file(layout: Layout) -> None:
    path = write_raw(layout, [point("a", {"big": 0.5}), b"\n", b"null\n"])
    ingest_day(layout, DAY, CONFIG, today=LATER)
    assert read_note(layout.table("responses", DAY)) == {
        "files": [path.name],
        "bytes_read": path.stat().st_size,
        "lines": 2,
        "accepted": 1,
        "duplicates": 0,
        "rejected": 1,
        "blank": 1,
        "rejected_by_code": {"point_not_object": 1},
    }


def test_progress_ends_at_the_total(layout: Layout) -> None:
    plain = write_raw(layout, [point("a", {"big": 0.5})])
    packed = layout.raw / "training_data_20260105.z.jsonl.gz"
    packed.write_bytes(gzip.compress(line(point("b", {"big": 0.5}))))
    calls: list[tuple[int, int]] = []
    ingest_day(layout, DAY, CONFIG, progress=lambda done, total: calls.append((done, total)), today=LATER)
    total = plain.stat().st_size + packed.stat().st_size
    assert calls[-1] == (total, total)
    assert calls == sorted(calls)


def test_reading_again_leaves_the_same_bytes(layout: Layout) -> None:
    write_raw(layout, [point(f"p{number}", {"big": 0.5, "coder": None}) for number in range(300)])
    write_raw(layout, [{"question": "no time", "responses": {"big": response("big")}}], writer="other")
    ingest_day(layout, DAY, CONFIG, today=LATER)
    first = contents(layout.tables)
    ingest_day(layout, DAY, CONFIG, today=date(2027, 1, 1))
    assert contents(layout.tables) == first


@pytest.mark.parametrize(("files", "groups"), [(40, 1), (300, 2)])
def test_a_day_of_many_small_files_has_few_row_groups_and_each_row_once(
    layout: Layout, files: int, groups: int
) -> None:
    """One row group per file would be slow to read and take much memory; one for all would have to be held."""
    for number in range(files):
        write_raw(layout, [point(f"p{number}", {"big": 0.5}), b"broken\n"], writer=f"w{number:03}")
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.accepted, result.rejected, len(result.files)) == (files, files, files)
    for table in (result.responses, result.rejects):
        assert pq.read_metadata(table.path).num_row_groups == groups
        assert table.rows == files
    points = read_table(layout, "responses", [DAY])
    assert points["point"].to_list() == list(range(files))
    assert points["data_point_id"].to_list() == [f"p{number}" for number in range(files)]


def test_a_large_day_is_written_while_it_is_read(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is gathered for a row group is bounded by its bytes, and each row is written once."""
    monkeypatch.setattr(ingest, "_ROW_GROUP_BYTES", 4_000)
    for number in range(12):
        values = [point(f"p{number}", {"big": 0.5}, question="long " * 200), b"broken " * 600 + b"\n"]
        write_raw(layout, values, writer=f"w{number:02}")
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert pq.read_metadata(result.responses.path).num_row_groups == 3  # of four chunks each
    assert pq.read_metadata(result.rejects.path).num_row_groups == 12
    rows = read_table(layout, "responses", [DAY])
    assert rows["data_point_id"].to_list() == [f"p{number}" for number in range(12)]
    assert read_table(layout, "rejects", [DAY]).height == 12
