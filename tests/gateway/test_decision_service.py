"""POST /v1/route and /v1/observe: the API for gateways that forward requests themselves."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from flywheel_core.wire import decode_point
from tests.gateway.world import Outside, RunningGateway, until

Start = Callable[..., RunningGateway]
QUESTION = {"messages": [{"role": "user", "content": "1 + 1?"}]}


@pytest.mark.parametrize("body", [QUESTION, {"prompt": "1 + 1?"}])
def test_route_decides_and_asks_no_model(outside: Outside, start: Start, body: dict[str, Any]) -> None:
    gateway = start(outside.config())
    decision = gateway.post("/v1/route", body).json()
    assert len(decision.pop("decision_id")) == 32
    assert decision == {
        "model": "big",
        "category": "general",
        "confidence": 0.5,
        "reason": "no_router",
        "router_version": None,
        "scores": {},
    }
    assert not outside.server.requests


@pytest.mark.parametrize("never_got", [{}, {"decision_id": None}, {"decision_id": ""}])
def test_an_observation_without_a_decision_gets_a_new_id(
    outside: Outside, start: Start, never_got: dict[str, Any]
) -> None:
    """As when /v1/route did not answer in time; Go sends an empty string for an id that it never got."""
    gateway = start(outside.config())
    answer = gateway.post("/v1/observe", {"request": QUESTION, "model": "math", "answer": "two", **never_got})
    assert answer.status_code == 202
    assert len(answer.json()["decision_id"]) == 32
    assert until(lambda: outside.points)[0]["id"] == answer.json()["decision_id"]


def test_usage_that_is_nested_deeper_than_a_data_point_may_be_does_not_cost_the_point(
    outside: Outside, start: Start
) -> None:
    """The collector refuses such points, after all models were asked and paid."""
    gateway = start(outside.config())
    usage = '{"a": ' * 40 + "1" + "}" * 40
    observed = {"request": QUESTION, "model": "math", "answer": "two", "usage": json.loads(usage)}
    assert gateway.post("/v1/observe", observed).json()["collected"]
    (point,) = until(lambda: outside.points)
    decoded = decode_point(json.dumps(point).encode())
    assert decoded.responses["math"].answer == "two"


def test_route_and_observe_share_a_decision(outside: Outside, start: Start) -> None:
    gateway = start(outside.config())
    decision_id = gateway.post("/v1/route", QUESTION).json()["decision_id"]
    observed = {
        "request": QUESTION,
        "model": "math",
        "answer": "two",
        "decision_id": decision_id,
        "latency_ms": 12.4,
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    answer = gateway.post("/v1/observe", observed)
    assert answer.status_code == 202
    assert answer.json() == {"decision_id": decision_id, "collected": True, "reason": "collecting"}
    point = until(lambda: outside.points)[0]
    assert point["decision_id"] == decision_id
    assert point["served_model"] == "math"
    assert point["responses"]["math"]["answer"] == "two"
    assert point["responses"]["math"]["latency_ms"] == 12
    assert point["responses"]["math"]["usage"] == observed["usage"]
    assert point["classification"]["reason"] == "no_router"
    assert point["classification"]["model"] == "big"
    assert sorted(request.json["model"] for request in outside.asked()) == ["big", "code-v2"]


def test_observe_without_a_decision_makes_one(outside: Outside, start: Start) -> None:
    answer = start(outside.config()).post(
        "/v1/observe", {"request": QUESTION, "model": "math", "answer": "two"}
    )
    assert len(answer.json()["decision_id"]) == 32
    point = until(lambda: outside.points)[0]
    assert point["classification"] == {
        "category": "math",
        "confidence": 1.0,
        "model": "math",
        "reason": "requested",
        "router_version": None,
    }


def test_an_observation_of_a_decision_of_another_gateway_has_no_classification(
    outside: Outside, start: Start
) -> None:
    """Behind a balancer, or after a restart. The router decided, so "requested" and confidence 1 would be wrong."""
    decision_id = start(outside.config()).post("/v1/route", QUESTION).json()["decision_id"]
    observed = {"request": QUESTION, "model": "math", "answer": "two", "decision_id": decision_id}
    assert start(outside.config()).post("/v1/observe", observed).json()["collected"]
    (point,) = until(lambda: outside.points)
    assert (point["decision_id"], point["served_model"]) == (decision_id, "math")
    assert point["classification"] is None


def test_the_longest_decision_id_and_a_latency_of_0_are_taken(outside: Outside, start: Start) -> None:
    observed = {
        "request": QUESTION,
        "model": "math",
        "answer": "two",
        "latency_ms": 0,
        "decision_id": "d" * 128,
    }
    start(outside.config()).post("/v1/observe", observed)
    point = until(lambda: outside.points)[0]
    assert (point["id"], point["responses"]["math"]["latency_ms"]) == ("d" * 128, 0)


def test_a_failure_can_be_observed(outside: Outside, start: Start) -> None:
    observed = {"request": QUESTION, "model": "math", "answer": None, "error": "http_status: 500"}
    start(outside.config()).post("/v1/observe", observed)
    point = until(lambda: outside.points)[0]
    assert point["responses"]["math"]["error"] == "http_status: 500"
    assert point["scores"]["math"] is None


def test_error_messages_of_another_gateway_share_one_code(outside: Outside, start: Start) -> None:
    """The metric has one label for all of them; the data point keeps the message."""
    gateway = start(outside.config())
    for number in range(3):
        error = f"request {number} of the man with the red hat failed: quota"
        observed = {"request": QUESTION, "model": "math", "answer": None, "error": error}
        gateway.post("/v1/observe", observed)
    points = until(lambda: len(outside.points) == 3 and outside.points)
    assert {point["responses"]["math"]["error"] for point in points} == {
        f"reported: request {number} of the man with the red hat failed: quota" for number in range(3)
    }
    assert gateway.metric('flywheel_gateway_collection_failures_total{model="math",reason="reported"}') == 3
    assert "red hat" not in gateway.get("/metrics").text


def test_an_empty_error_is_no_error(outside: Outside, start: Start) -> None:
    """Go encodes the absence of an error as an empty string."""
    observed = {"request": QUESTION, "model": "math", "answer": "two", "error": ""}
    start(outside.config()).post("/v1/observe", observed)
    point = until(lambda: outside.points)[0]
    assert point["responses"]["math"]["error"] is None
    assert point["scores"]["math"] == 0.75


@pytest.mark.parametrize(
    ("answer", "finish_reason", "code"),
    [
        ("half of an ans", "length", "truncated"),
        ("I may not", "content_filter", "content_filter"),
        (None, "tool_calls", "tool_call"),
        (" ", "stop", "empty_answer"),
    ],
)
def test_an_observed_answer_that_is_unusable_is_a_failure(
    outside: Outside, start: Start, answer: str | None, finish_reason: str, code: str
) -> None:
    observed = {"request": QUESTION, "model": "math", "answer": answer, "finish_reason": finish_reason}
    start(outside.config()).post("/v1/observe", observed)
    point = until(lambda: outside.points)[0]
    assert point["responses"]["math"]["error"].partition(":")[0] == code
    assert point["scores"]["math"] is None


@pytest.mark.parametrize(
    ("change", "headers", "reason"),
    [
        ({"request": {**QUESTION, "n": 3}}, {}, "several_answers"),
        ({"request": {"prompt": "no chat"}}, {}, "not_chat"),
        ({}, {"x-flywheel-collect": "1"}, "marked"),
    ],
)
def test_observe_says_why_it_does_not_collect(
    outside: Outside, start: Start, change: dict[str, Any], headers: dict[str, str], reason: str
) -> None:
    gateway = start(outside.config())
    observed = {"request": QUESTION, "model": "math", "answer": "two", **change}
    answer = gateway.post("/v1/observe", observed, headers)
    assert answer.status_code == 202
    assert (answer.json()["collected"], answer.json()["reason"]) == (False, reason)
    assert gateway.metric(f'flywheel_gateway_collection_skipped_total{{reason="{reason}"}}') == 1


def test_observe_says_that_collection_is_off(outside: Outside, start: Start) -> None:
    gateway = start(outside.config(data_collection__enabled=False))
    answer = gateway.post("/v1/observe", {"request": QUESTION, "model": "math", "answer": "two"})
    assert answer.json()["reason"] == "disabled"


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/route", {}, 400, "no messages with a question"),
        ("/v1/observe", {}, 400, "request is not an object"),
        ("/v1/observe", {"request": QUESTION}, 400, "model is missing"),
        ("/v1/observe", {"request": QUESTION, "model": "gpt-17", "answer": "x"}, 404, "no model 'gpt-17'"),
        ("/v1/observe", {"request": QUESTION, "model": "auto", "answer": "x"}, 404, "no model 'auto'"),
        ("/v1/observe", {"request": QUESTION, "model": "math", "answer": 7}, 400, "answer is neither"),
        (
            "/v1/observe",
            {"request": QUESTION, "model": "math", "answer": "x", "usage": 7},
            400,
            "usage is neither",
        ),
        (
            "/v1/observe",
            {"request": QUESTION, "model": "math", "answer": "x", "latency_ms": -1},
            400,
            "latency_ms",
        ),
        (
            "/v1/observe",
            {"request": QUESTION, "model": "math", "answer": "x", "decision_id": "d" * 129},
            400,
            "decision_id",
        ),
        ("/v1/observe", {"request": QUESTION, "model": "", "answer": "x"}, 400, "model is missing"),
        *(
            ("/v1/observe", {"request": QUESTION, "model": "math", "answer": "x", name: value}, 400, name)
            for name, value in (
                ("error", 7),
                ("finish_reason", ["stop"]),
                ("decision_id", 7),
                ("decision_id", {}),
                ("latency_ms", 86_400_000),
                ("latency_ms", "12"),
                ("latency_ms", True),
            )
        ),
    ],
)
def test_an_invalid_request_is_refused(
    outside: Outside, start: Start, path: str, body: dict[str, Any], status: int, words: str
) -> None:
    answer = start(outside.config()).post(path, body)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
