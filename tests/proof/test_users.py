"""Users and collection."""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.gateway.conftest import outside, start  # noqa: F401 - fixtures
from tests.gateway.scripted import Arrived, Script, completion, reply
from tests.gateway.world import Outside, RunningGateway, by_user
from tests.proof.conftest import Proof

IN_FLIGHT = 8
HANG_SECONDS = 300.0
"""Longer than all questions take together, so that no collection that has begun ends meanwhile."""


@pytest.mark.proof(
    "Collecting never delays a user, is bounded, and counts what it skips",
    "every call of collection hangs, including the scorer's, and the collector cannot be reached, while eight users ask at once; "
    "then the same without collection",
)
def test_users_while_all_that_collection_asks_hangs(
    proof: Proof,
    outside: Outside,  # noqa: F811 - the fixture
    start: Callable[..., RunningGateway],  # noqa: F811 - the fixture
) -> None:
    questions = proof.size(80, 1_000)
    ours = scored = 0

    def hang() -> Script:
        yield HANG_SECONDS

    def score(_: Arrived) -> Script:
        nonlocal scored
        scored += 1
        return hang()

    def chat(asked: Arrived) -> Script:
        nonlocal ours
        if by_user(asked):
            return reply(completion(f"the answer to {asked.json['messages'][-1]['content']}"))
        ours += 1
        return hang()

    outside.chat, outside.score = chat, score
    medians = {}
    for collecting in (False, True):
        config = outside.config(
            data_collection__enabled=collecting,
            data_collection__max_in_flight=IN_FLIGHT,
            data_collection__point_timeout=HANG_SECONDS,
            data_collection__storage_endpoint="http://127.0.0.1:9/collect",
        )
        for model in config["models"].values():
            model["timeout"] = HANG_SECONDS
        gateway = start(config)

        def ask(number: int, gateway: RunningGateway = gateway) -> float:
            begun = time.perf_counter()
            answer = gateway.chat(f"question {number}")
            assert answer.status_code == 200
            assert answer.json()["choices"][0]["message"]["content"] == f"the answer to question {number}"
            return (time.perf_counter() - begun) * 1_000

        with ThreadPoolExecutor(8) as users:
            medians[collecting] = statistics.median(users.map(ask, range(questions)))
        skipped = gateway.metric('flywheel_gateway_collection_skipped_total{reason="busy"}')
        under_way = gateway.metric("flywheel_gateway_collection_in_flight")
        assert under_way <= IN_FLIGHT
        assert skipped == (questions - under_way if collecting else 0)
        gateway.kill()
    assert 0 < ours <= IN_FLIGHT * 3
    assert 0 < scored <= IN_FLIGHT  # of the users' own answers, which collection reuses
    proof.note(
        users_answered=2 * questions, skipped_and_counted=int(skipped), collected_at_once=int(under_way)
    )
    if proof.full:
        proof.note(p50_without_ms=medians[False], p50_with_ms=medians[True])
        assert medians[True] <= medians[False] + 50
