"""Clients do not wait for a model that keeps failing, as long as another one can answer."""

import contextlib
import socket
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from flywheel_gateway.exchange import IMPATIENT_SECONDS
from flywheel_gateway.failing import PAUSED, RETRY_SECONDS, FailingModels
from flywheel_gateway.pause import MOST_IN_A_ROW
from tests.gateway.scripted import STREAM_END, STREAM_HEAD, Arrived, Script, chunk, completion, reply
from tests.gateway.world import Outside, RunningGateway, until

Start = Callable[..., RunningGateway]

BIG, MATH, CODE = (SimpleNamespace(name=name) for name in ("big", "math", "code"))
WHY = {"big": "timeout: no whole answer within 25 s"}


def orders(failing: FailingModels, *targets: SimpleNamespace, times: int = 1) -> list[list[str]]:
    return [[target.name for target in failing.order(targets)] for _ in range(times)]


def test_a_paused_model_comes_last_but_for_one_try_at_a_time() -> None:
    now = [100.0]
    failing = FailingModels(lambda: now[0])
    for _ in range(MOST_IN_A_ROW):
        assert orders(failing, BIG, MATH, CODE) == [["big", "math", "code"]]
        failing.note(WHY, "math")
    assert orders(failing, BIG, MATH, CODE, times=2) == [["math", "code", "big"]] * 2
    now[0] += RETRY_SECONDS
    assert orders(failing, BIG, MATH, CODE, times=2) == [["big", "math", "code"], ["math", "code", "big"]]
    failing.note(WHY, "math")
    assert orders(failing, BIG, MATH, CODE) == [["math", "code", "big"]]
    now[0] += RETRY_SECONDS
    assert orders(failing, MATH, BIG, CODE) == [["math", "code", "big"]], (
        "a try is for the first choice alone"
    )
    assert orders(failing, BIG, MATH, CODE) == [["big", "math", "code"]]
    failing.note({}, "big")
    assert orders(failing, BIG, MATH, CODE, times=3) == [["big", "math", "code"]] * 3


def test_a_success_in_between_and_a_request_that_passed_over_the_model_are_no_failures_in_a_row() -> None:
    failing = FailingModels(lambda: 100.0)
    for _ in range(MOST_IN_A_ROW - 1):
        failing.note(WHY, "math")
    failing.note({"big": PAUSED}, "math")
    assert orders(failing, BIG, MATH) == [["big", "math"]]
    failing.note({}, "big")
    for _ in range(MOST_IN_A_ROW - 1):
        failing.note(WHY, "big")  # its refusal was passed on
    assert orders(failing, BIG, MATH) == [["big", "math"]]
    failing.note(WHY, "big")
    assert orders(failing, BIG, MATH) == [["math", "big"]]


def test_when_all_are_paused_they_are_asked_in_order() -> None:
    failing = FailingModels(lambda: 100.0)
    for _ in range(MOST_IN_A_ROW):
        failing.note({"big": "timeout", "math": "timeout"}, None)
    assert orders(failing, BIG, MATH) == [["big", "math"]]


def without(*broken: str) -> Callable[[Arrived], Script]:
    """Return answers of all models but the broken ones."""
    return lambda asked: (
        reply(b"{}", "503 Service Unavailable")
        if asked.json["model"] in broken
        else reply(completion(f"I am {asked.json['model']}"))
    )


def test_a_model_that_keeps_failing_is_passed_over_until_it_works(outside: Outside, start: Start) -> None:
    outside.chat = without("big")
    config = outside.config(data_collection__enabled=False, routing__fallback_models=["math"])
    gateway = start(config)
    for number in range(MOST_IN_A_ROW):
        assert gateway.chat(f"question {number}").headers["x-flywheel-model"] == "math"
    assert [asked.json["model"] for asked in outside.asked()] == ["big", "math"] * MOST_IN_A_ROW
    outside.server.requests.clear()

    answer = gateway.chat("another question")
    assert answer.headers["x-flywheel-model"] == "math"
    assert [asked.json["model"] for asked in outside.asked()] == ["math"]
    assert until(lambda: gateway.decisions()[MOST_IN_A_ROW:])[0]["failed"] == {"big": PAUSED}
    assert gateway.metric('flywheel_gateway_model_failures_total{model="big",reason="paused"}') == 1
    assert [line["model"] for line in gateway.logged("model_paused")] == ["big"]

    assert gateway.chat("by name", model="big").status_code == 503, "a model that is named is asked"
    outside.chat = without()
    assert gateway.chat("by name", model="big").status_code == 200
    assert gateway.chat("a last question").headers["x-flywheel-model"] == "big"
    assert [line["model"] for line in gateway.logged("model_asked_again")] == ["big"]


def with_big_paused(outside: Outside, start: Start) -> tuple[RunningGateway, dict[str, Any]]:
    """Return a gateway that passes over `big`, and its configuration."""
    outside.chat = without("big")
    config = outside.config(data_collection__enabled=False, routing__fallback_models=["math"])
    gateway = start(config)
    for number in range(MOST_IN_A_ROW):
        gateway.chat(f"question {number}")
    return gateway, config


def test_a_paused_model_is_asked_when_all_others_fail(outside: Outside, start: Start) -> None:
    gateway, _ = with_big_paused(outside, start)
    outside.chat = without("math")
    answer = gateway.chat("another question")
    assert (answer.status_code, answer.headers["x-flywheel-model"]) == (200, "big")
    assert until(lambda: gateway.decisions()[MOST_IN_A_ROW:])[0]["failed"].keys() == {"math"}


def test_another_configuration_ends_the_pause(outside: Outside, start: Start) -> None:
    """Its address may have been the reason."""
    gateway, config = with_big_paused(outside, start)
    outside.chat = without()
    config["models"]["big"]["upstream_name"] = "big-2"
    gateway.write_config(config)
    until(lambda: gateway.logged("configuration_taken"))
    assert gateway.chat("another question").headers["x-flywheel-model"] == "big"


def asking(gateway: RunningGateway) -> socket.socket:
    """Return the connection of a client that has asked and can leave at any moment, by closing it."""
    body = b'{"stream": true, "messages": [{"role": "user", "content": "4?"}]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    client = socket.create_connection(("127.0.0.1", int(gateway.address.rpartition(":")[2])))
    client.sendall(head + body)
    return client


SAYS_NOTHING = {
    "a refusal": (reply(b'{"error": {}}', "400 Bad Request"), 400),
    "an error in a stream": (
        [STREAM_HEAD, chunk(b'data: {"error": {"message": "no"}}\n\n'), STREAM_END],
        200,
    ),
    "keep-alive comments": ([STREAM_HEAD, chunk(b": ping\n\n"), chunk(b": ping\n\n"), STREAM_END], 200),
}


@pytest.mark.parametrize("what", SAYS_NOTHING)
def test_what_is_no_answer_ends_no_pause(outside: Outside, start: Start, what: str) -> None:
    """They go to a client that named the model, and may come from what stands before a model that is down."""
    gateway, _ = with_big_paused(outside, start)
    answer, status = SAYS_NOTHING[what]
    outside.chat = lambda asked: answer if asked.json["model"] == "big" else reply(completion("4"))
    assert gateway.chat("by name", model="big", stream=True).status_code == status
    outside.server.requests.clear()
    gateway.chat("another question")
    assert [asked.json["model"] for asked in outside.asked()] == ["math"]
    assert gateway.logged("model_asked_again") == []


HANGS: dict[str, list[bytes | float]] = {
    "silent": [60.0],
    "keeps the connection alive": [STREAM_HEAD, chunk(b": ping\n\n"), 60.0],
}


@pytest.mark.parametrize("how", HANGS)
def test_clients_that_give_up_waiting_count_as_failures_of_the_model(
    outside: Outside, start: Start, how: str
) -> None:
    """They never see it answer, however much longer the gateway would have waited."""
    outside.chat = lambda asked: HANGS[how] if asked.json["model"] == "big" else reply(completion("4"))
    config = outside.config(
        data_collection__enabled=False, routing__fallback_models=["math"], models__big__timeout=60.0
    )
    gateway = start(config)
    with contextlib.ExitStack() as clients:
        for _ in range(MOST_IN_A_ROW):
            clients.enter_context(asking(gateway))
        until(lambda: len(outside.asked()) == MOST_IN_A_ROW)
        time.sleep(IMPATIENT_SECONDS + 0.1)
    until(lambda: gateway.logged("model_paused"))
    failures = 'flywheel_gateway_model_failures_total{model="big",reason="client_left"}'
    assert gateway.metric(failures) == MOST_IN_A_ROW
    reasons = [kept["failed"]["big"] for kept in until(lambda: gateway.decisions()[MOST_IN_A_ROW - 1 :])]
    assert reasons[0].startswith("client_left: without an answer for ")
    skipped = gateway.metric('flywheel_gateway_collection_skipped_total{reason="client_left"}')
    assert skipped == MOST_IN_A_ROW
    assert gateway.chat("another question").headers["x-flywheel-model"] == "math"


def test_who_leaves_at_once_is_counted_by_model_but_is_no_failure(outside: Outside, start: Start) -> None:
    """Where all clients have short time-outs, nothing else would say which model hangs."""
    outside.chat = lambda asked: HANGS["silent"] if asked.json["model"] == "big" else reply(completion("4"))
    gateway = start(outside.config(models__big__timeout=60.0, routing__fallback_models=["math"]))
    left = 'flywheel_gateway_left_waiting_total{model="big"}'
    assert f"{left} 0.0" in gateway.get("/metrics").text
    for number in range(MOST_IN_A_ROW):
        with asking(gateway):
            until(lambda: len(outside.asked()) == number + 1)  # noqa: B023 - it is called at once
        until(lambda: gateway.metric(left) == number + 1)  # noqa: B023 - as above
    assert gateway.chat("4?", model="math").status_code == 200
    assert gateway.metric('flywheel_gateway_left_waiting_total{model="math"}') == 0
    assert gateway.logged("model_failed") == gateway.logged("model_paused") == []
