"""A day's raw files become `responses` and `rejects`: nothing is lost, everything is counted."""

import gzip
import json
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flywheel_core.lake import raw_lines
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


def test_every_kind_of_bad_line_is_counted_and_kept(layout: Layout) -> None:
    good = line(point("a", {"big": 0.5}))
    bad: list[tuple[bytes, str]] = [
        (b"null\n", "point_not_object"),
        (b'{"question": "x", "responses": {"big"\n', "point_not_json"),
        (b'{"question": "\xff", "responses": {}}\n', "point_not_utf8"),
        (b'{"question": " ", "responses": {}}\n', "question_empty"),
        (line(point("b", {"big": 2.0})), "score_invalid"),
        (line(point("c", {"big": "0.9"})), "score_invalid"),  # type: ignore[dict-item] # wrong on purpose
        (line(point("d", {"big": True})), "score_invalid"),
        (line(point("e", {"big": float("nan")})), "score_invalid"),
        (line(point("f", {}, responses=[])), "responses_invalid"),
        (b"\x00\x00\x00\n", "point_not_json"),
    ]
    lines = [b"\xef\xbb\xbf" + good, b"\n", b" \t\r\n", b"\xef\xbb\xbf\n", *(text for text, _ in bad), good]
    path = write_raw(layout, lines)
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.accepted, result.duplicates, result.rejected, result.blank) == (1, 1, len(bad), 3)
    assert result.lines == 2 + len(bad)
    assert result.bytes_read == path.stat().st_size
    raw = path.read_bytes()
    rows = read_table(layout, "rejects").to_dicts()
    assert [row["code"] for row in rows] == [code for _, code in bad]
    for row, (text, _) in zip(rows, bad, strict=True):
        kept = raw[row["byte_offset"] : row["byte_offset"] + row["length"]]
        assert kept + b"\n" == text
        assert row["text"] == kept.decode(errors="backslashreplace")
        assert row["raw_file"] == path.name and row["message"]
    assert sum(result.rejected_by_code.values()) == len(bad)


def test_only_newline_ends_a_line(layout: Layout) -> None:
    write_raw(layout, [point("a", {"big": 0.5}, question="one\u2028two\u0085three\x0cfour")])
    assert ingest_day(layout, DAY, CONFIG, today=LATER).accepted == 1


def test_duplicates_count_once_a_day_and_the_first_is_kept(layout: Layout) -> None:
    write_raw(layout, [point("a", {"big": 0.5}), point("a", {"big": 0.75}), point("b", {"big": 0.5})])
    write_raw(layout, [point("c", {"big": 0.25}), point("b", {"big": 1.0})], writer="two")
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.lines, result.accepted, result.duplicates) == (5, 3, 2)
    assert result.files == ("training_data_20260105.jsonl", "training_data_20260105.two.jsonl")
    rows = read_table(layout, "responses").to_dicts()
    assert [(row["point"], row["data_point_id"], row["score"]) for row in rows] == [
        (0, "a", 0.5),
        (1, "b", 0.5),
        (2, "c", 0.25),
    ]


def test_the_open_day_is_read_up_to_its_last_whole_line(layout: Layout) -> None:
    whole, torn = line(point("a", {"big": 0.5})), line(point("b", {"big": 0.5}))
    write_raw(layout, [whole, torn[:-20]])
    result = ingest_day(layout, DAY, CONFIG, today=DAY)
    assert (result.open, result.lines, result.accepted, result.rejected) == (True, 1, 1, 0)
    assert result.bytes_read == len(whole)
    write_raw(layout, [whole, torn])
    result = ingest_day(layout, DAY, CONFIG, today=DAY)
    assert (result.lines, result.accepted) == (2, 2)


def test_a_torn_last_line_of_a_day_that_is_over_is_a_reject(layout: Layout) -> None:
    whole = line(point("a", {"big": 0.5}))
    write_raw(layout, [whole, whole[:-20]])
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.open, result.accepted, result.rejected_by_code) == (False, 1, {"point_not_json": 1})


def test_a_whole_last_line_without_newline_counts_once_the_day_is_over(layout: Layout) -> None:
    write_raw(layout, [line(point("a", {"big": 0.5})).strip()])
    assert ingest_day(layout, DAY, CONFIG, today=LATER).accepted == 1


def test_compressed_files_are_read_and_damage_is_kept(layout: Layout) -> None:
    lines = b"".join(line(point(f"p{number}", {"big": 0.5})) for number in range(50))
    path = layout.raw / "training_data_20260105.jsonl.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(lines))
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.accepted, result.rejected) == (50, 0)
    path.write_bytes(gzip.compress(lines)[:-60])
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert 1 <= result.accepted < 50
    assert result.rejected_by_code == {"file_damaged": 1}
    assert result.lines == result.accepted + 1
    (reject,) = read_table(layout, "rejects").to_dicts()
    assert lines[reject["byte_offset"] :].startswith(reject["text"].encode())


def test_an_oversized_line_is_rejected_without_its_neighbours(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_lines, "CHUNK_BYTES", 2_000)
    huge = line(point("huge", {"big": 0.5}, question="x" * 5_000))
    write_raw(layout, [point("a", {"big": 0.5}), huge, point("b", {"big": 0.5})])
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.accepted, result.rejected_by_code) == (2, {"point_too_large": 1})
    (reject,) = read_table(layout, "rejects").to_dicts()
    assert reject["length"] == len(huge)


def test_an_oversized_line_that_still_grows_is_left_alone(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_lines, "CHUNK_BYTES", 2_000)
    write_raw(layout, [point("a", {"big": 0.5}), b"x" * 5_000])
    assert ingest_day(layout, DAY, CONFIG, today=DAY).rejected == 0
    assert ingest_day(layout, DAY, CONFIG, today=LATER).rejected == 1


def test_a_day_without_files_gives_empty_tables_with_their_columns(layout: Layout) -> None:
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.lines, result.responses.rows, result.rejects.rows, result.files) == (0, 0, 0, ())
    assert read_table(layout, "responses").columns == RESPONSES.names
    assert read_table(layout, "rejects").columns == REJECTS.names


def test_unknown_models_are_named(layout: Layout) -> None:
    write_raw(layout, [point("a", {"big": 0.5, "stranger": 0.5, "nameless": 0.5})])
    assert ingest_day(layout, DAY, CONFIG, today=LATER).unknown_models == ("nameless", "stranger")


def test_figures_beyond_a_column_do_not_stop_the_day(layout: Layout) -> None:
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


def test_progress_ends_at_the_whole(layout: Layout) -> None:
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


lines_of_any_kind = st.one_of(
    st.integers(0, 5).map(lambda number: line(point(f"p{number}", {"big": 0.5, "algebra": number / 5}))),
    st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"") + b"\n"),
    st.sampled_from([b"\n", b"null\n", b"\xef\xbb\xbf\n", b"{}\n", b"[1]\n"]),
    st.integers(0, 80).map(lambda cut: line(point("torn", {"big": 0.5}))[:cut] + b"\n"),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(lines_of_any_kind, max_size=12),
    st.lists(lines_of_any_kind, max_size=6),
    st.integers(100, 3_000),
)
def test_whatever_the_lines_are_they_add_up_and_nothing_is_lost(
    layout: Layout, first: list[bytes], second: list[bytes], chunk_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw_lines, "CHUNK_BYTES", chunk_bytes)
        paths = [write_raw(layout, first), write_raw(layout, second, writer="b")]
        result = ingest_day(layout, DAY, CONFIG, today=LATER)
    raw = {path.name: path.read_bytes() for path in paths}
    assert result.lines + result.blank == sum(text.count(b"\n") for text in raw.values())
    assert result.lines == result.accepted + result.duplicates + result.rejected
    responses, rejects = read_table(layout, "responses"), read_table(layout, "rejects")
    assert responses["data_point_id"].n_unique() == responses["point"].n_unique() == result.accepted
    assert len(rejects) == result.rejected
    for row in rejects.to_dicts():
        end = row["byte_offset"] + row["length"]
        kept = raw[row["raw_file"]][row["byte_offset"] : end]
        assert kept.decode(errors="backslashreplace")[:16].startswith(row["text"][:16])
    for row in responses.to_dicts():
        found = raw[row["raw_file"]][row["byte_offset"] :].split(b"\n")[0]
        assert json.loads(found.removeprefix(b"\xef\xbb\xbf"))["id"] == row["data_point_id"]
