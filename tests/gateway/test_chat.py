"""POST /v1/chat/completions: what the model gets, what the client gets, and what headers and metrics report."""

import gzip
import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from flywheel_gateway.endpoints import LARGE_BODY
from tests.gateway.scripted import Arrived, Script, completion, reply
from tests.gateway.world import WAIT_SECONDS, Outside, RunningGateway, until

Start = Callable[..., RunningGateway]


def test_the_default_model_answers_until_a_router_is_trained(outside: Outside, start: Start) -> None:
    answer = start(outside.config()).chat("求解方程 x^2 + 2x - 3 = 0")
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "I am big"
    assert answer.headers["x-flywheel-model"] == "big"
    assert answer.headers["x-flywheel-category"] == "general"
    assert answer.headers["x-flywheel-confidence"] == "0.5"
    assert answer.headers["x-flywheel-reason"] == "no_router"
    assert answer.headers["x-flywheel-router"] == "none"
    assert len(answer.headers["x-flywheel-decision"]) == 32


@pytest.mark.parametrize(
    "wanted", [{}, {"model": None}, {"model": ""}, {"model": "auto"}, {"model": "higress/auto"}]
)
def test_the_gateway_chooses_for_a_request_that_names_no_model(
    outside: Outside, start: Start, wanted: dict[str, Any]
) -> None:
    answer = start(outside.config()).chat(**wanted)
    assert answer.headers["x-flywheel-reason"] == "no_router"
    assert outside.asked_by_users()[0].json["model"] == "big"


def test_a_named_model_is_asked_under_its_upstream_name(outside: Outside, start: Start) -> None:
    answer = start(outside.config(data_collection__enabled=False)).chat(model="code")
    assert answer.json()["choices"][0]["message"]["content"] == "I am code-v2"
    assert answer.headers["x-flywheel-model"] == "code"
    assert answer.headers["x-flywheel-category"] == "code"
    assert answer.headers["x-flywheel-reason"] == "requested"


def test_an_unknown_model_is_refused_with_the_known_ones(outside: Outside, start: Start) -> None:
    answer = start(outside.config()).chat(model="gpt-17")
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["code"] == "model_unknown"
    assert "big, math, code" in error["message"]
    assert not outside.asked()


def test_every_other_field_of_the_body_is_passed_on_unchanged(outside: Outside, start: Start) -> None:
    gateway = start(outside.config(data_collection__enabled=False))
    body = (
        b'{"messages": [ {"role":"system","content":"short"}, {"role":"user","content":"\\u00e9 \xc3\xa9"} ],'
        b' "temperature": 0.10, "seed": 123456789012345678901234567890, "x": {"b":1,  "a":2}, "model": "auto"}'
    )
    gateway.post("/v1/chat/completions", body)
    sent = outside.asked()[0].body
    for part in (
        b'"temperature":0.10',
        b"123456789012345678901234567890",
        b'{"b":1,  "a":2}',
        b'"content":"\\u00e9 \xc3\xa9"',
    ):
        assert part in sent
    assert json.loads(sent)["model"] == "big"


def test_a_gzip_request_is_unpacked_for_the_model(outside: Outside, start: Start) -> None:
    gateway = start(outside.config(data_collection__enabled=False))
    body = gzip.compress(json.dumps({"messages": [{"role": "user", "content": "packed"}]}).encode())
    assert gateway.post("/v1/chat/completions", body, {"content-encoding": "gzip"}).status_code == 200
    assert gateway.metric("flywheel_gateway_received_bytes_total") == len(body)
    asked = outside.asked()[0]
    assert asked.header("content-encoding") is None
    assert asked.json["messages"][0]["content"] == "packed"


def test_the_clients_secrets_are_not_passed_on(outside: Outside, start: Start) -> None:
    config = outside.config(models__big__api_key_env="BIG_KEY", data_collection__enabled=False)
    gateway = start(config, {"BIG_KEY": "models-own"})
    sent = {
        "authorization": "Bearer clients-secret",
        "cookie": "session=1",
        "x-api-key": "clients-other-secret",
        "connection": "keep-alive, x-private",
        "x-private": "1",
        "x-higress-llm-model": "forged",
        "x-trace": "goes-on",
    }
    assert gateway.chat(headers=sent).status_code == 200
    asked = outside.asked()[0]
    assert asked.header("authorization") == "Bearer models-own"
    assert asked.header("x-trace") == "goes-on"
    assert asked.header("x-higress-llm-model") == "big"
    assert asked.header("x-ai-eg-model") == "big"
    assert asked.header("x-flywheel-collect")
    for name in ("cookie", "x-api-key", "x-private"):
        assert asked.header(name) is None
    logged = gateway.log()
    assert not any(value in logged for value in ("clients-secret", "session=1", "clients-other-secret"))


def test_a_model_without_a_key_gets_no_authorization(outside: Outside, start: Start) -> None:
    gateway = start(outside.config(data_collection__enabled=False))
    assert gateway.chat(headers={"authorization": "Bearer clients-secret"}).status_code == 200
    assert outside.asked()[0].header("authorization") is None


def test_an_encoded_answer_is_passed_on_unchanged(outside: Outside, start: Start) -> None:
    packed = gzip.compress(completion("packed answer"))
    outside.chat = lambda _: reply(packed, "200 OK", "application/json", ("Content-Encoding", "gzip"))
    gateway = start(outside.config(data_collection__training__candidate_models=["big"]))
    with httpx.stream(
        "POST",
        f"{gateway.address}/v1/chat/completions",
        json={"messages": [{"role": "user", "content": "1 + 1?"}]},
        headers={"accept-encoding": "br, gzip;q=0.9"},
    ) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        assert b"".join(answer.iter_raw()) == packed
    assert outside.asked()[0].header("accept-encoding") == "gzip;q=0.9"
    point = until(lambda: outside.points)[0]
    assert point["responses"]["big"]["answer"] == "packed answer"


def test_the_models_refusal_of_a_request_reaches_the_client(outside: Outside, start: Start) -> None:
    refusal = b'{"error":{"message":"context too long","type":"invalid_request_error","code":"context"}}'
    outside.chat = lambda _: reply(refusal, "400 Bad Request", "application/json", ("X-Detail", "7"))
    gateway = start(outside.config())
    answer = gateway.chat()
    assert (answer.status_code, answer.content) == (400, refusal)
    assert answer.headers["x-detail"] == "7"
    assert gateway.metric('flywheel_gateway_collection_skipped_total{reason="not_answered"}') == 1
    assert len(outside.asked()) == 1, "no other model is asked about it"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"messages": ["\xff"]}', "not JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"model": 7}', "model is not a string"),
        (b"[" + b"[]," * 250_000, "too many values"),
        pytest.param(
            b'{"model": "' + b'\\"' * 1_000_000, "not JSON", id="a text without end, full of quotes"
        ),
    ],
)
def test_an_unreadable_body_is_refused(outside: Outside, start: Start, body: bytes, words: str) -> None:
    answer = start(outside.config()).post("/v1/chat/completions", body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "body_unreadable"
    assert words in error["message"]


@pytest.mark.parametrize("padding", [0, LARGE_BODY], ids=["small", "large"])
def test_whatever_its_nesting_a_body_is_answered_or_refused(
    outside: Outside, start: Start, padding: int
) -> None:
    """A large one is read in a thread, where Python permits more nesting than where it is written again."""
    gateway = start(outside.config())
    codes = set()
    for depth in range(955, 1_000):
        content = b'{"messages":[{"role":"user","content":"a"}],"metadata":%b%b,"padding":"%b"}'
        body = content % (b"[" * depth, b"]" * depth, b"x" * padding)
        codes.add(gateway.post("/v1/chat/completions", body).status_code)
        usage = b'{"a":%b%b}' % (b"[" * depth, b"]" * depth)
        for observed in (
            b'"request":%b' % body,
            b'"request":{},"usage":%b,"b":"%b"' % (usage, b"x" * padding),
        ):
            answer = gateway.post("/v1/observe", b'{"model":"big","answer":"b",%b}' % observed)
            codes.add(answer.status_code)
    assert codes <= {200, 202, 400}


def test_a_body_above_the_bound_is_refused(outside: Outside, start: Start) -> None:
    gateway = start(outside.config(gateway={"port": 0, "max_body_bytes": 2_000, "max_unpacked_bytes": 4_000}))
    assert gateway.chat("x" * 3_000).status_code == 413
    bomb = gzip.compress(json.dumps({"messages": [{"role": "user", "content": "x" * 9_000}]}).encode())
    assert gateway.post("/v1/chat/completions", bomb, {"content-encoding": "gzip"}).status_code == 413
    assert gateway.chat().status_code == 200


def test_a_client_that_sends_its_whole_body_first_sees_that_it_is_too_large(
    outside: Outside, start: Start
) -> None:
    """If the connection were closed while the body arrives, clients such as Node's would report a lost connection."""
    gateway = start(outside.config(gateway={"port": 0, "max_body_bytes": 2_000}))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 8000000\r\n\r\n"
    with socket.create_connection(
        ("127.0.0.1", httpx.URL(gateway.address).port or 0), WAIT_SECONDS
    ) as client:
        client.sendall(head + b" " * 8_000_000)
        assert client.recv(65_536).startswith(b"HTTP/1.1 413")


def test_an_empty_prompt_is_passed_on_and_not_collected(outside: Outside, start: Start) -> None:
    gateway = start(outside.config())
    answer = gateway.chat("  ")
    assert answer.status_code == 200
    assert answer.headers["x-flywheel-reason"] == "no_prompt"
    assert gateway.metric('flywheel_gateway_collection_skipped_total{reason="empty_prompt"}') == 1


def test_the_models_are_listed(outside: Outside, start: Start) -> None:
    listing = start(outside.config()).get("/v1/models").json()
    assert [entry["id"] for entry in listing["data"]] == ["auto", "big", "math", "code"]


def test_metrics_have_the_names_of_the_specification_and_count_the_spend(
    outside: Outside, start: Start
) -> None:
    gateway = start(outside.config())
    gateway.chat()
    until(lambda: outside.points)
    assert gateway.metric('semantic_router_requests_total{model="big"}') == 1
    assert gateway.metric('flywheel_gateway_decisions_total{model="big",reason="no_router"}') == 1
    assert gateway.metric('semantic_router_response_time_histogram_count{model="big"}') == 1
    assert gateway.metric("semantic_router_accuracy_score") == 0.75
    cost = gateway.metric('flywheel_gateway_spend_total{model="big",purpose="clients"}')
    assert cost == pytest.approx((10 * 1.0 + 20 * 2.0) / 1e6)


def test_health_readiness_descriptions_and_unknown_paths(outside: Outside, start: Start) -> None:
    gateway = start(outside.config())
    assert gateway.get("/health").text == "OK"
    assert gateway.get("/ready").json() == {
        "status": "ready",
        "router_version": None,
        "router_paused": False,
        "router_refused": None,
    }
    assert gateway.get("/nothing").status_code == gateway.get("/health/").status_code == 404
    assert gateway.post("/health", b"").status_code == 405
    refused = gateway.get("/v1/chat/completions")
    assert (refused.status_code, refused.headers.get("allow")) == (405, "POST")
    assert "swagger" in gateway.get("/docs").text
    assert "/v1/route" in gateway.get("/openapi.json").json()["paths"]


def test_large_bodies_that_wait_for_a_model_keep_no_small_one_out(outside: Outside, start: Start) -> None:
    """A few clients with large bodies and a slow model would otherwise refuse everybody for as long as it takes."""
    let_go = threading.Event()

    def slow(_: Arrived) -> Script:
        let_go.wait(WAIT_SECONDS)
        return reply(b"{}")

    outside.other = slow
    size = 262_144
    gateway = start(outside.config(gateway__max_body_bytes=size, gateway__max_unpacked_bytes=size))
    with ThreadPoolExecutor(8) as clients:
        large = [clients.submit(gateway.post, "/v1/files", b"x" * size) for _ in range(8)]
        until(lambda: gateway.metric("flywheel_gateway_held_bytes") == 8 * size)
        refused = gateway.post("/v1/files", b"x" * size)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_full")
        assert gateway.chat().status_code == 200
        let_go.set()
        assert [one.result().status_code for one in large] == [200] * 8
    assert gateway.metric("flywheel_gateway_held_bytes") == 0
