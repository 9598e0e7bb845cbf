"""Requests with earlier turns: which text is routed by and collected, with `multi_turn` and without."""

from collections.abc import Callable
from typing import Any

import pytest

from flywheel_gateway.decisions import prompt_hash
from tests.gateway.world import Outside, RunningGateway, until

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
