"""Requests that ask for a whole answer are not sent to a model that answers only with streams, if another can answer."""

from collections.abc import Callable

from tests.gateway.scripted import Arrived, Script, completion, reply
from tests.gateway.world import Outside, RunningGateway, until

Start = Callable[..., RunningGateway]
ANSWERED = b'data: {"choices": [{"index": 0, "delta": {"content": "big"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


def insisting(asked: Arrived) -> Script:
    """Answer for `big`, which insists on streams, and for the others."""
    if asked.json["model"] != "big":
        return reply(completion(f"I am {asked.json['model']}"))
    if asked.json.get("stream") is not True:
        return reply(b'{"error": {"message": "only stream mode is supported"}}', "400 Bad Request")
    return [b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", ANSWERED, b""]


def test_whole_answers_come_from_the_next_model_and_streams_from_the_chosen_one(
    outside: Outside, start: Start
) -> None:
    outside.chat = insisting
    config = outside.config(routing__fallback_models=["math"])
    config["models"]["big"]["stream_only"] = True
    gateway = start(config)

    whole = gateway.chat("one")
    assert (whole.status_code, whole.headers["x-flywheel-model"]) == (200, "math")
    (point,) = until(lambda: outside.points)
    assert point["served_model"] == "math"
    assert point["responses"]["big"]["answer"] == "big", "collection asked for a stream"

    streamed = gateway.chat("two", stream=True)
    assert (streamed.content, streamed.headers["x-flywheel-model"]) == (ANSWERED, "big")

    named = gateway.chat("three", model="big")
    assert named.status_code == 400, "a model that is named is asked as the client wishes"
    assert gateway.metric('flywheel_gateway_model_failures_total{model="big",reason="paused"}') == 0


def test_the_only_model_is_asked_all_the_same(outside: Outside, start: Start) -> None:
    outside.chat = insisting
    config = outside.config(data_collection__enabled=False)
    config["models"]["big"]["stream_only"] = True
    assert start(config).chat("one").status_code == 400
