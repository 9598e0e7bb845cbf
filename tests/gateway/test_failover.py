"""When a model fails, the next in the configured order answers, and headers, metrics and decision log show it."""

import codecs
import gzip
from collections.abc import Callable

import pytest

from flywheel_core.collect.answer import MAX_ANSWER_BYTES
from tests.gateway.scripted import (
    DONE,
    STREAM_END,
    STREAM_HEAD,
    Arrived,
    Script,
    ScriptedModel,
    chunk,
    completion,
    event,
    reply,
)
from tests.gateway.world import Outside, RunningGateway, until

Start = Callable[..., RunningGateway]
MakeModel = Callable[[Callable[[Arrived], Script]], ScriptedModel]

FAILURES: dict[str, Callable[[Arrived], Script]] = {
    "http_status: 500": lambda _: reply(
        b'{"error": {"message": "inner secret"}}', "500 Internal Server Error"
    ),
    "http_status: 429": lambda _: reply(
        b"{}", "429 Too Many Requests", "application/json", ("Retry-After", "9")
    ),
    "http_status: 401": lambda _: reply(b"{}", "401 Unauthorized"),
    "http_status: 402": lambda _: reply(
        b'{"error": {"message": "Insufficient Balance"}}', "402 Payment Required"
    ),
    "redirect: 302": lambda _: reply(b"", "302 Found", "text/html", ("Location", "http://127.0.0.1:1/")),
    "malformed_body": lambda _: reply(b'{"choices": [{"message": {"cont'),
    "content_type: text/html": lambda _: reply(b"<html>", "200 OK", "text/html"),
    "content_type: text/plain": lambda _: reply(completion("two"), "200 OK", "text/plain"),
    "malformed_body: no choices": lambda _: reply(b'{"choices": []}'),
    "connection_lost": lambda _: [
        completion("cut").join([b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", b""]),
        b"",
    ],
    "connection_lost: at once": lambda _: [b""],
    "connection_lost: no status of HTTP": lambda _: reply(b"{}", "600 Odd"),
    "timeout": lambda _: [30.0],
}


@pytest.mark.parametrize("failure", FAILURES)
def test_the_next_model_answers_when_one_fails(
    outside: Outside, model: MakeModel, start: Start, failure: str
) -> None:
    broken = model(FAILURES[failure])
    config = outside.config(
        models__big__base_url=broken.address,
        models__big__timeout=0.5,
        routing__fallback_models=["math", "code"],
        data_collection__enabled=False,
    )
    gateway = start(config)
    answer = gateway.chat()
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "I am math"
    assert answer.headers["x-flywheel-model"] == "math"
    assert len(broken.requests) == 1
    code = failure.partition(":")[0]
    assert gateway.metric(f'flywheel_gateway_model_failures_total{{model="big",reason="{code}"}}') == 1
    assert gateway.metric('semantic_router_requests_total{model="math"}') == 1
    decision = until(gateway.decisions)[0]
    assert (decision["model"], decision["served"]) == ("big", "math")
    assert decision["failed"]["big"].startswith(code)


@pytest.mark.parametrize("end", [b"", STREAM_END], ids=["broken off", "empty"])
def test_a_stream_that_fails_before_its_first_piece_is_replaced(
    outside: Outside, model: MakeModel, start: Start, end: bytes
) -> None:
    broken = model(lambda _: [STREAM_HEAD, end])
    outside.chat = lambda _: [STREAM_HEAD, chunk(event("from math") + DONE), STREAM_END]
    config = outside.config(models__big__base_url=broken.address, routing__fallback_models=["math"])
    answer = start(config).chat(stream=True)
    assert answer.content == event("from math") + DONE


@pytest.mark.parametrize(("named", "answer"), [(None, "from math"), ("big", None)])
def test_a_stream_that_begins_with_an_error_is_replaced_if_another_model_may_answer(
    outside: Outside, model: MakeModel, start: Start, named: str | None, answer: str | None
) -> None:
    """Services that find out late report it in a stream of status 200; the last model's report reaches the client."""
    report = b'data: {"error": {"message": "not an answerable question: 1 + 1?"}}\n\n' + DONE
    broken = model(lambda _: [STREAM_HEAD, chunk(report), STREAM_END])
    outside.chat = lambda _: [STREAM_HEAD, chunk(event("from math") + DONE), STREAM_END]
    config = outside.config(
        models__big__base_url=broken.address,
        routing__fallback_models=["math"],
        data_collection__enabled=False,
    )
    gateway = start(config)
    got = gateway.chat(stream=True, model=named)
    assert got.content == (report if answer is None else event(answer) + DONE)
    failed = until(gateway.decisions)[0].get("failed")
    said = "malformed_body: the stream begins with an error"
    assert failed == (None if answer is None else {"big": said})
    assert "1 + 1?" not in gateway.log(), "the model's words may quote the question"


def test_without_fallback_models_the_default_model_answers(
    outside: Outside, model: MakeModel, start: Start
) -> None:
    """Without a router the default model is also the one chosen, so here nothing is left to replace it."""
    broken = model(FAILURES["http_status: 500"])
    answer = start(outside.config(models__big__base_url=broken.address)).chat()
    assert answer.status_code == 500
    assert len(broken.requests) == 1
    assert answer.headers["x-flywheel-model"] == "big"


def test_a_named_model_is_not_replaced(outside: Outside, model: MakeModel, start: Start) -> None:
    broken = model(FAILURES["http_status: 429"])
    config = outside.config(models__math__base_url=broken.address, routing__fallback_models=["code"])
    answer = start(config).chat(model="math")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "9"


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        ("http_status: 401", 502, "upstream_failed"),
        ("http_status: 402", 502, "upstream_failed"),
        ("redirect: 302", 502, "upstream_failed"),
        ("malformed_body", 502, "upstream_failed"),
        ("connection_lost", 502, "upstream_failed"),
        ("connection_lost: no status of HTTP", 502, "upstream_failed"),
        ("timeout", 504, "upstream_timeout"),
    ],
)
def test_when_no_model_answers_the_client_gets_an_error(
    outside: Outside, model: MakeModel, start: Start, failure: str, status: int, code: str
) -> None:
    broken = model(FAILURES[failure])
    gateway = start(outside.config(models__big__base_url=broken.address, models__big__timeout=0.5))
    answer = gateway.chat()
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == (code, "server_error")
    assert "127.0.0.1" not in error["message"]
    if failure.startswith("http_status"):
        assert error["message"] == f"no model answered: big: http_status ({failure[-3:]})"
    assert gateway.metric(f'flywheel_gateway_requests_total{{code="{code}"}}') == 1
    assert gateway.metric('flywheel_gateway_collection_skipped_total{reason="not_answered"}') == 1


def test_a_model_that_cannot_be_reached_is_replaced(outside: Outside, start: Start) -> None:
    config = outside.config(models__big__base_url="http://127.0.0.1:1", routing__fallback_models=["code"])
    gateway = start(config)
    assert gateway.chat().headers["x-flywheel-model"] == "code"
    assert gateway.metric('flywheel_gateway_model_failures_total{model="big",reason="connect_failed"}') == 1


def test_a_large_answer_passes_whole(outside: Outside, start: Start) -> None:
    large = completion("x" * 3_000_000)
    outside.chat = lambda _: reply(large)
    assert start(outside.config(data_collection__enabled=False)).chat().content == large


def test_a_packed_answer_passes_though_it_is_too_large_to_be_read(outside: Outside, start: Start) -> None:
    """Log probabilities make an answer large, and pack well."""
    large = completion("x" * MAX_ANSWER_BYTES)
    packed = gzip.compress(large)
    outside.chat = lambda _: reply(packed, "200 OK", "application/json", ("Content-Encoding", "gzip"))
    gateway = start(outside.config(data_collection__training__candidate_models=["big"]))
    assert gateway.chat().content == large
    point = until(lambda: outside.points)[0]
    assert point["responses"]["big"]["error"] == "body_too_large"


def test_an_answer_with_half_a_surrogate_pair_is_not_replaced(outside: Outside, start: Start) -> None:
    """Every client's JSON reader takes it, so it passes as it is."""
    half = codecs.BOM_UTF8 + completion("two \ud83d")
    outside.chat = lambda _: reply(half)
    gateway = start(outside.config(routing__fallback_models=["math"]))
    answer = gateway.chat()
    assert (answer.content, answer.headers["x-flywheel-model"]) == (half, "big")
    assert until(lambda: outside.points)[0]["responses"]["big"]["answer"] == "two \ufffd"


@pytest.mark.parametrize("named", [None, "math"])
def test_when_no_model_answers_the_decision_can_still_be_looked_up(
    outside: Outside, model: MakeModel, start: Start, named: str | None
) -> None:
    broken = model(FAILURES["connection_lost: at once"]).address
    config = outside.config(models__big__base_url=broken, models__math__base_url=broken)
    gateway = start(config)
    answer = gateway.chat(model=named)
    assert answer.status_code == 502
    decision = until(gateway.decisions)[0]
    assert answer.headers["x-flywheel-decision"] == decision["decision_id"]
    assert answer.headers["x-flywheel-reason"] == decision["reason"]
    assert answer.headers["x-flywheel-category"] == decision["category"]
    assert answer.headers["x-flywheel-router"] == "none"
    assert "x-flywheel-model" not in answer.headers, "nobody answered"


@pytest.mark.parametrize(("failure", "named"), [("http_status: 500", None), ("http_status: 429", "math")])
def test_a_failure_passed_on_to_the_client_is_recorded_like_any_other(
    outside: Outside, model: MakeModel, start: Start, failure: str, named: str | None
) -> None:
    """Otherwise the failures of a model that nothing replaces would never show."""
    broken = model(FAILURES[failure]).address
    gateway = start(outside.config(models__big__base_url=broken, models__math__base_url=broken))
    answer = gateway.chat(model=named)
    asked = named or "big"
    assert answer.headers["x-flywheel-model"] == asked
    assert f"http_status: {answer.status_code}" == failure
    metric = f'flywheel_gateway_model_failures_total{{model="{asked}",reason="http_status"}}'
    assert gateway.metric(metric) == 1
    assert until(gateway.decisions)[0]["failed"] == {asked: failure}
    (logged,) = gateway.logged("model_failed")
    assert (logged["model"], logged["reason"]) == (asked, failure)
    assert logged["decision_id"] == answer.headers["x-flywheel-decision"]


def test_a_models_refusal_of_a_request_is_not_a_failure(outside: Outside, start: Start) -> None:
    outside.chat = lambda _: reply(b"{}", "400 Bad Request")
    gateway = start(outside.config())
    assert gateway.chat().status_code == 400
    assert "model_failures_total{" not in gateway.get("/metrics").text
    assert "failed" not in until(gateway.decisions)[0]
