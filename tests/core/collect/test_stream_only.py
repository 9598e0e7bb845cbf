"""Models that answer nothing but streams: collection asks them for one and reads it as a whole."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from flywheel_core.collect.answer import MAX_ANSWER_BYTES
from flywheel_core.collect.calls import STREAM_BYTES
from flywheel_core.collect.fanout import Fanout
from flywheel_core.collect.trial import try_services
from tests.core.collect.asking import BODY, run
from tests.core.collect.outside import Handler, Outside, Reply, Request, as_json, chat

STREAM = {"content-type": "text/event-stream; charset=utf-8"}
USAGE = {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 20}}


def events(chunks: Sequence[Any], end: str = "data: [DONE]\n\n") -> Reply:
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + end
    return Reply(body=text.encode(), headers=STREAM)


def piece(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def insisting(reply: Reply) -> Handler:
    """Return a model that refuses all requests but those for a stream, as services of thinking models do."""

    def answer(asked: Request) -> Reply:
        if asked.json["stream"] is not True:
            return as_json({"error": {"message": "only stream mode is supported"}}, 400)
        return reply

    return answer


def test_a_model_that_answers_only_with_streams_is_asked_for_one() -> None:
    """Its reasoning is no part of the answer, and with what surrounds it far longer than any whole answer may be."""
    thought = [piece({"reasoning_content": "hm " * 100})] * 13_000
    said = [piece({"content": "tw"}), piece({"content": "o"}), piece({}, "stop"), USAGE]

    reply = events([*thought, *said])
    assert MAX_ANSWER_BYTES < len(reply.body) < STREAM_BYTES

    async def act(world: Outside) -> None:
        world.model("general", insisting(reply))
        config = world.config(model={"stream_only": True})
        async with Fanout(config) as fanout:
            point = await fanout.collect(BODY)
        found = point.responses["general"]
        assert (found.answer, found.error, found.finish_reason) == ("two", None, "stop")
        assert found.cost == pytest.approx(50e-6)
        assert point.scores["general"] is not None
        (asked,) = world.asked("general/v1/chat/completions")
        assert asked.json["stream_options"] == {"include_usage": True}
        assert asked.json["messages"] == BODY["messages"]

    run(act)


def test_a_whole_answer_to_a_request_for_a_stream_is_one_too() -> None:
    async def act(world: Outside) -> None:
        world.model("general", lambda _: chat("two"))
        async with Fanout(world.config(["general"], model={"stream_only": True})) as fanout:
            point = await fanout.collect(BODY)
        assert point.responses["general"].answer == "two"

    run(act)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (events([piece({"content": "tw"})], end=""), "truncated: the stream ended early"),
        (events([piece({"content": "tw"}, "length")]), "truncated"),
        (events([piece({"reasoning_content": "hm"}), piece({}, "stop")]), "empty_answer"),
        (events([{"error": {"message": "no"}}]), "malformed_body: the stream has an error"),
        (events([piece({"content": "x" * STREAM_BYTES})]), "body_too_large"),
        (Reply(status=500, body=b"data: x\n\n", headers=STREAM), "http_status: 500"),
    ],
    ids=["cut", "too long", "only thoughts", "error", "too large", "status"],
)
def test_streams_fail_as_whole_answers_do(reply: Reply, error: str) -> None:
    async def act(world: Outside) -> None:
        world.model("general", insisting(reply))
        config = world.config(["general"], model={"stream_only": True}, retry_budget=0.0)
        async with Fanout(config) as fanout:
            point = await fanout.collect(BODY)
        assert (point.responses["general"].error or "").startswith(error)

    run(act)


def test_other_models_are_asked_for_whole_answers() -> None:
    async def act(world: Outside) -> None:
        world.model("general", insisting(events([piece({"content": "two"}, "stop")])))
        async with Fanout(world.config(["general"])) as fanout:
            point = await fanout.collect(BODY)
        assert (point.responses["general"].error or "").startswith("http_status: 400 only stream mode")
        (asked,) = world.asked("/chat/completions")
        assert asked.json["stream"] is False and "stream_options" not in asked.json

    run(act)


def test_config_try_asks_for_a_stream_too() -> None:
    async def act(world: Outside) -> None:
        said = events([piece({"content": "2"}, "stop"), USAGE])
        world.model("general", insisting(said))
        (trial, *_) = await try_services(world.config(["general"], model={"stream_only": True}))
        assert (trial.ok, trial.says) == (True, "answers, cost 0.000050")

    run(act)
