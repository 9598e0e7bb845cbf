"""Requests that are more than one question and one answer: what is routed by and collected, with `multi_turn` and without."""

from collections.abc import Callable
from typing import Any

import pytest

from flywheel_gateway.decisions import prompt_hash
from tests.gateway.scripted import DONE, STREAM_END, STREAM_HEAD, chunk, completion, event, reply
from tests.gateway.world import Outside, RunningGateway, by_user, until

Start = Callable[..., RunningGateway]
BODY: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "And + 1?"},
    ]
}
WHOLE = "user: 1 + 1?\n\nassistant: 2\n\nuser: And + 1?"


@pytest.mark.parametrize(("multi_turn", "text"), [(True, WHOLE), (False, "And + 1?")])
def test_requests_are_routed_by_the_text_that_routers_are_trained_on(
    outside: Outside, start: Start, multi_turn: bool, text: str
) -> None:
    gateway = start(outside.config(data_collection__multi_turn=multi_turn))
    gateway.post("/v1/chat/completions", BODY)
    gateway.post("/v1/route", BODY)
    until(lambda: len(gateway.decisions()) == 2)
    assert {decision["prompt"] for decision in gateway.decisions()} == {prompt_hash(text)}


def test_conversations_are_collected_as_they_are_routed(outside: Outside, start: Start) -> None:
    gateway = start(outside.config(data_collection__multi_turn=True))
    gateway.post("/v1/chat/completions", BODY)
    point = until(lambda: outside.points)[0]
    assert (point["question"], point["messages"]) == (WHOLE, BODY["messages"])


@pytest.mark.parametrize(("asked", "answer"), [({"n": 2}, "first"), ({}, "second and first")])
def test_of_several_streamed_answers_the_first_is_collected(
    outside: Outside, start: Start, asked: dict[str, Any], answer: str
) -> None:
    """Without `n` the index does not tell answers apart: some services count with it."""
    second, first = event("second and ").replace(b'"index": 0', b'"index": 1'), event("first", "stop")
    sent = [STREAM_HEAD, *map(chunk, (second, first, DONE)), STREAM_END]
    outside.chat = lambda request: sent if by_user(request) else reply(completion("two"))
    gateway = start(outside.config(data_collection__multi_turn=True))
    gateway.chat(stream=True, **asked)
    assert until(lambda: outside.points)[0]["responses"]["big"]["answer"] == answer
