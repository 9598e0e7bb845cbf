"""Times that the gateway measures and those that it keeps to, measured against waits that a model makes."""

import socket
import time
from collections.abc import Callable

from tests.gateway.scripted import Arrived, Script, ScriptedModel, reply
from tests.gateway.world import Outside, RunningGateway, by_user, until

Start = Callable[..., RunningGateway]
MakeModel = Callable[[Callable[[Arrived], Script]], ScriptedModel]


def test_measured_times_are_those_of_the_request_the_decision_and_the_answer(
    outside: Outside, model: MakeModel, start: Start
) -> None:
    """The time of an answer is that of the model that gave it, without those that failed before it."""
    broken = model(lambda _: [0.3, *reply(b"{}", "500 Internal Server Error")])
    first = outside.chat
    outside.chat = lambda asked: [0.2, *first(asked)] if by_user(asked) else first(asked)
    config = outside.config(models__big__base_url=broken.address, routing__fallback_models=["math"])
    gateway = start(config)
    began = time.monotonic()
    assert gateway.chat().headers["x-flywheel-model"] == "math"
    point = until(lambda: outside.points)[0]
    answer = point["responses"]["math"]["latency_ms"] / 1000
    request = gateway.metric('semantic_router_response_time_histogram_sum{model="math"}')
    elapsed = time.monotonic() - began
    assert answer > 0.19
    assert answer + 0.29 < request < elapsed
    assert 0 < gateway.metric("flywheel_gateway_decision_seconds_sum") < elapsed


def test_a_connection_that_is_not_made_in_time_is_given_up(outside: Outside, start: Start) -> None:
    """A server that never shakes hands: `connect_timeout` counts, which is shorter than `timeout`."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        big = {
            "base_url": f"https://127.0.0.1:{deaf.getsockname()[1]}",
            "timeout": 600,
            "connect_timeout": 0.2,
        }
        gateway = start(outside.config(models__big=big, data_collection__enabled=False))
        answer = gateway.chat()
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")
        told = "big: connect_timeout (no connection within 0.2 s)"
        assert answer.json()["error"]["message"] == f"no model answered: {told}"
        answer = gateway.get("/v1/files")
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")
        assert answer.json()["error"]["message"] == told
    assert [line["reason"] for line in gateway.logged("model_failed")] == [
        "connect_timeout: no connection within 0.2 s"
    ] * 2


def test_another_path_waits_for_each_piece_only_as_long_as_the_model_may_take(
    outside: Outside, start: Start
) -> None:
    """The whole may take longer, because it may be a stream."""
    outside.other = lambda asked: (
        [b"HTTP/1.1 200 OK\r\n\r\n", *(b"piece", 0.6) * 4, b""] if asked.method == "GET" else [30.0]
    )
    gateway = start(outside.config(models__big__timeout=2.0))
    assert gateway.get("/v1/files").text == "piece" * 4
    answer = gateway.post("/v1/files", {})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")
    (logged,) = gateway.logged("model_failed")
    assert logged["reason"] == "timeout: nothing came for 2 s"


def test_an_answer_that_is_no_stream_must_be_whole_in_time(outside: Outside, start: Start) -> None:
    """Each piece alone would come in time."""
    outside.chat = lambda _: [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n",
        *(b" ", 0.1) * 300,
    ]
    gateway = start(outside.config(models__big__timeout=0.5, data_collection__enabled=False))
    answer = gateway.chat()
    assert answer.status_code == 504
    told = "no model answered: big: timeout (no whole answer within 0.5 s)"
    assert answer.json()["error"]["message"] == told
    (logged,) = gateway.logged("model_failed")
    assert logged["reason"] == "timeout: no whole answer within 0.5 s"
