"""Costs of answers: the limit for collection, and what the metrics show of them."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from tests.gateway.scripted import (
    DONE,
    STREAM_END,
    STREAM_HEAD,
    Arrived,
    Script,
    chunk,
    completion,
    event,
    reply,
)
from tests.gateway.world import Outside, RunningGateway, until

Start = Callable[..., RunningGateway]
QUESTION = {"messages": [{"role": "user", "content": "1 + 1?"}]}


def skipped(gateway: RunningGateway, reason: str) -> float:
    """Return how many requests were not collected for this reason."""
    return gateway.metric(f'flywheel_gateway_collection_skipped_total{{reason="{reason}"}}')


def test_spend_is_told_apart_by_who_caused_it(outside: Outside, start: Start) -> None:
    """An answer that a client got is not paid for by collection, which reuses it."""
    priced = {"base_url": outside.address, "input_price": 3.0, "output_price": 2.0}
    gateway = start(outside.config(models__big=priced, models__math=priced))
    gateway.chat()
    until(lambda: outside.points)
    cost = pytest.approx((10 * 3.0 + 20 * 2.0) / 1e6)
    for model, purpose, spent in (
        ("big", "clients", cost),
        ("big", "collection", 0),
        ("math", "clients", 0),
        ("math", "collection", cost),
    ):
        name = f'flywheel_gateway_spend_total{{model="{model}",purpose="{purpose}"}}'
        assert gateway.metric(name) == spent, (model, purpose)
    assert gateway.metric("flywheel_gateway_collection_spend_today") == cost
    assert gateway.metric("flywheel_gateway_collection_spend_limit") == math.inf


def test_the_cost_limit_stops_collection_but_not_the_users(outside: Outside, start: Start) -> None:
    config = outside.config(
        data_collection__max_cost_per_day=0.00001,
        models__math__input_price=1.0,
        models__math__output_price=1.0,
    )
    gateway = start(config)
    gateway.chat()
    until(lambda: outside.points)
    assert gateway.chat().status_code == 200
    until(lambda: skipped(gateway, "cost_limit") == 1)
    assert gateway.metric("flywheel_gateway_collection_spend_today") == pytest.approx(30 / 1e6)
    assert gateway.metric("flywheel_gateway_collection_spend_limit") == 0.00001
    collected = [decision.get("collected", False) for decision in until(lambda: two_of(gateway.decisions()))]
    assert collected == [True, False], "the record says why the second has no data point"
    told = gateway.post("/v1/observe", {"request": QUESTION, "model": "big", "answer": "two"}).json()
    assert (told["collected"], told["reason"]) == (False, "cost_limit")
    assert skipped(gateway, "cost_limit") == 2, "each is counted once"


def two_of(decisions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the decisions once there are two, else none."""
    return decisions if len(decisions) == 2 else []


def test_today_s_spend_is_shown_after_a_restart_that_turns_collection_off(
    outside: Outside, start: Start
) -> None:
    """Whoever turned it off because of the cost looks at that cost next."""
    gateway = start(outside.config(models__math__input_price=5.0))
    gateway.chat()
    until(lambda: outside.points)
    assert gateway.stop() == 0
    gateway.write_config(outside.config(data_collection__enabled=False))
    gateway.start()
    assert gateway.metric("flywheel_gateway_collection_spend_today") == pytest.approx(10 * 5.0 / 1e6)


def test_answers_to_clients_of_unknown_cost_are_counted(outside: Outside, start: Start) -> None:
    """Streams without token counts, which most clients ask for, would seem to cost nothing; a refusal costs nothing."""
    name = 'flywheel_gateway_unpriced_total{model="big"}'
    gateway = start(outside.config(data_collection__enabled=False))
    gateway.chat()
    assert gateway.metric(name) == 0
    outside.chat = lambda _: reply(completion("two").replace(b'"usage"', b'"unused"'))
    gateway.chat()
    assert gateway.metric(name) == 1
    outside.chat = lambda _: reply(b'{"error": {"message": "too long"}}', "400 Bad Request")
    assert gateway.chat().status_code == 400
    assert gateway.metric(name) == 1


def test_the_cost_of_a_stream_is_known_when_its_token_counts_are_asked_for(
    outside: Outside, start: Start
) -> None:
    """Hardly any client asks for them. What a client says of them itself stays, as does a whole answer's request."""
    asked = []

    def chat(arrived: Arrived) -> Script:
        asked.append(arrived.json.get("stream_options"))
        counts = b'data: {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 20}}\n\n'
        wanted = (asked[-1] or {}).get("include_usage")
        yield STREAM_HEAD + chunk(event("two", "stop") + (counts if wanted else b"") + DONE) + STREAM_END

    outside.chat = chat
    priced = {"base_url": outside.address, "output_price": 5.0, "stream_usage": True}
    gateway = start(outside.config(data_collection__enabled=False, models__big=priced))
    spent = 'flywheel_gateway_spend_total{model="big",purpose="clients"}'
    assert '"usage"' in gateway.chat(stream=True).text
    assert gateway.metric(spent) == pytest.approx(20 * 5.0 / 1e6)
    gateway.chat(stream=True, stream_options={"include_obfuscation": False})
    assert '"usage"' not in gateway.chat(stream=True, stream_options={"include_usage": False}).text
    gateway.chat(stream=True, stream_options=[])
    gateway.chat(stream=True, model="math")
    gateway.chat()
    assert asked == [
        {"include_usage": True},
        {"include_obfuscation": False, "include_usage": True},
        {"include_usage": False},
        {"include_usage": True},
        None,
        None,
    ]
    assert gateway.metric(spent) == pytest.approx(3 * 20 * 5.0 / 1e6)


def test_answers_of_unknown_cost_are_counted(outside: Outside, start: Start) -> None:
    """They do not count towards the cost limit."""
    outside.chat = lambda _: reply(completion("two").replace(b'"usage"', b'"unused"'))
    gateway = start(outside.config(data_collection__max_cost_per_day=0.00001))
    gateway.chat()
    until(lambda: outside.points)
    assert gateway.metric("flywheel_gateway_collection_unpriced_total") == 2
    assert gateway.metric("flywheel_gateway_collection_spend_today") == 0
