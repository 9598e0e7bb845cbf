"""POST /collect: what is accepted, what is answered and what is stored."""

import gzip
import json
import time
import uuid
from typing import Any

import pytest

from .conftest import Process, body_of, point


def fresh() -> int:
    return uuid.uuid4().int % 10**12


def test_an_accepted_point_is_on_disk_before_the_answer(collector: Process) -> None:
    number = fresh()
    before = time.time()
    answer = collector.collect(point(number))
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "success", "count": 1, "message": "Data collected successfully", "rejected": []},
    )
    (stored,) = [line for line in collector.raw() if line["id"] == f"p-{number}"]
    assert stored["source"] == "local"
    assert before <= stored["received_at"] <= time.time()
    assert stored["schema_version"] == 1
    assert [path.name for path in (collector.data / "raw").glob("*.jsonl")] == [
        time.strftime("training_data_%Y%m%d.jsonl", time.gmtime(stored["received_at"]))
    ]


def test_a_client_cannot_set_source_time_of_receipt_or_schema_version(collector: Process) -> None:
    number = fresh()
    collector.collect(point(number, source="forged", received_at=1.0, schema_version=99))
    (stored,) = [line for line in collector.raw() if line["id"] == f"p-{number}"]
    assert stored["source"] == "local"
    assert stored["received_at"] > 1_700_000_000
    assert stored["schema_version"] == 1


def test_the_reference_gateways_batch_is_stored_in_the_canonical_form(collector: Process) -> None:
    number = fresh()
    response = {"Model": "m", "Answer": "a", "Latency": 5, "Error": {}, "RawResponse": {"x": 1}}
    sent = {
        "Question": f"go {number}",
        "Responses": {"m": response},
        "Scores": {"m": -1},
        "Timestamp": 1_767_225_600,
        "Classification": None,
    }
    content = body_of(sent, count=1, timestamp=1_767_225_600) + b"\n"
    assert collector.collect(content=content).json()["count"] == 1
    (stored,) = [line for line in collector.raw() if line["question"] == f"go {number}"]
    assert stored["responses"]["m"] == {
        "model": "m",
        "answer": "a",
        "latency_ms": 5,
        "error": "{}",
        "finish_reason": None,
        "usage": None,
        "cost": None,
        "raw_response": {"x": 1},
    }
    assert stored["scores"] == {"m": None}


def test_a_chunked_body_with_a_trailing_newline_is_accepted(collector: Process) -> None:
    content = body_of(point(fresh())) + b"\n"
    pieces = iter([content[:7], content[7:50], content[50:]])
    answer = collector.client.post("/collect", content=pieces, headers={"content-type": "application/json"})
    assert answer.json()["count"] == 1


def test_a_gzip_body_is_accepted(collector: Process) -> None:
    number = fresh()
    content = gzip.compress(body_of(point(number))[:40]) + gzip.compress(body_of(point(number))[40:])
    received = collector.metric("flywheel_collector_received_bytes_total")
    assert collector.collect(content=content, headers={"content-encoding": "gzip"}).json()["count"] == 1
    assert any(line["id"] == f"p-{number}" for line in collector.raw())
    assert collector.metric("flywheel_collector_received_bytes_total") == received + len(content)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        'application/json; charset="utf-8"; profile=points',
        "application/json;",
        None,
    ],
)
def test_json_media_types_and_a_missing_one_are_accepted(collector: Process, media_type: str | None) -> None:
    headers = {} if media_type is None else {"content-type": media_type}
    assert (
        collector.client.post("/collect", content=body_of(point(fresh())), headers=headers).status_code == 200
    )


def test_unacceptable_points_are_set_aside_and_named_in_the_answer(collector: Process) -> None:
    number = fresh()
    good = json.dumps(point(number)).encode()
    bad = b'{"question": "set aside %d", "responses": {}, "scores": {"m": NaN}}' % number
    answer = collector.collect(content=b'{"data_points": [' + good + b", null, " + bad + b'], "count": 3}')
    assert answer.status_code == 200
    assert answer.json()["count"] == 1
    assert [(item["index"], item["code"]) for item in answer.json()["rejected"]] == [
        (1, "point_not_object"),
        (2, "score_invalid"),
    ]
    (kept,) = [line for line in collector.rejected() if line["point"] == bad.decode()]
    assert {key: kept[key] for key in ("source", "code", "index")} == {
        "source": "local",
        "code": "score_invalid",
        "index": 2,
    }
    assert "'m' is NaN" in kept["message"]
    assert kept["received_at"] > 1_700_000_000


def test_a_rejected_point_that_is_not_utf8_is_kept_with_escaped_bytes(collector: Process) -> None:
    bad = b'{"question": "torn \xff\xfe", "responses": {}}'
    answer = collector.collect(content=b'{"data_points": [' + bad + b"]}")
    assert answer.status_code == 422
    assert any(line["point"] == bad.decode(errors="backslashreplace") for line in collector.rejected())


def test_a_batch_with_nothing_acceptable_is_refused_and_its_points_are_kept(collector: Process) -> None:
    question = f"empty {fresh()}"
    answer = collector.collect({"question": question})
    assert answer.status_code == 422
    assert answer.json()["code"] == "nothing_acceptable"
    assert answer.json()["rejected"] == [
        {"index": 0, "code": "responses_missing", "message": "there are no responses"}
    ]
    assert any(question in line["point"] for line in collector.rejected())


def test_an_empty_batch_is_accepted(collector: Process) -> None:
    assert collector.collect(content=b'{"data_points": []}').json()["count"] == 0


@pytest.mark.parametrize(
    ("status", "code", "options"),
    [
        (400, "body_unreadable", {"content": b"no json"}),
        (400, "encoding_invalid", {"content": b"no gzip", "headers": {"content-encoding": "gzip"}}),
        (415, "media_type_unsupported", {"headers": {"content-type": "text/plain"}}),
        (415, "media_type_unsupported", {"headers": {"content-type": "application/json; charset=gbk"}}),
        (415, "media_type_unsupported", {"headers": {"content-encoding": "br"}}),
        (413, "batch_too_large", {"content": body_of(*[point(1)] * 1_001)}),
        (413, "body_too_large", {"content": body_of(point(1, question="q" * 9_000_000))}),
    ],
)
def test_every_refusal_has_the_same_fields_and_is_counted(
    collector: Process, status: int, code: str, options: dict[str, Any]
) -> None:
    before = collector.metric(f'flywheel_collector_requests_total{{code="{code}"}}')
    answer = collector.collect(point(1), **options)
    assert answer.status_code == status
    assert set(answer.json()) == {"status", "code", "message"}
    assert (answer.json()["status"], answer.json()["code"]) == ("error", code)
    assert collector.metric(f'flywheel_collector_requests_total{{code="{code}"}}') == before + 1


def test_other_methods_and_addresses_are_refused(collector: Process) -> None:
    wrong = collector.client.get("/collect")
    assert (wrong.status_code, wrong.json()["code"], wrong.headers["allow"]) == (
        405,
        "method_not_allowed",
        "POST",
    )
    wrong = collector.client.post("/health")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    for path in ("/nothing", "/health/"):
        wrong = collector.client.get(path)
        assert (wrong.status_code, wrong.json()["code"]) == (404, "not_found")


def test_metrics_count_points_bytes_and_rejects(collector: Process) -> None:
    names = [
        "flywheel_collector_points_total",
        "flywheel_collector_received_bytes_total",
        'flywheel_collector_rejected_points_total{code="point_not_object"}',
        "flywheel_collector_commit_seconds_count",
    ]
    before = [collector.metric(name) for name in names]
    content = body_of(point(fresh()), point(fresh()), None)
    collector.collect(content=content)
    gained = [collector.metric(name) - old for name, old in zip(names, before, strict=True)]
    assert gained == [2, len(content), 1, 1]
    assert collector.metric("flywheel_collector_queue_bytes") == 0


def test_the_log_holds_no_prompt(collector: Process) -> None:
    marker = f"secret-prompt-{fresh()}"
    collector.collect(point(fresh(), question=marker))
    collector.collect({"question": marker})
    collector.collect(content=b'{"data_points": [' + marker.encode())
    assert marker not in collector.log.read_text()
    assert all("event" in json.loads(line) for line in collector.log.read_text().splitlines())
