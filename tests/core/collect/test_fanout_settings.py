"""Which requests are collected, and what the configuration decides about the calls to models."""

import json
from typing import Any

import httpx
import msgspec
import pytest

from flywheel_core.collect import Fanout
from flywheel_core.config import Config
from flywheel_core.errors import SKIP_CODES, ConfigIncompleteError, SkippedError, UsageError
from flywheel_core.records import encode_point
from tests.core.collect.asking import run
from tests.core.collect.outside import CANDIDATES, Outside, as_json, chat


@pytest.mark.parametrize(
    ("request_body", "code"),
    [
        ({"prompt": "complete"}, "not_chat"),
        ({"messages": "x"}, "not_chat"),
        (None, "not_chat"),
        ([{"role": "user", "content": "q"}], "not_chat"),
        (b"q", "not_chat"),
        ({"messages": []}, "empty_prompt"),
        ({"messages": [{"role": "user", "content": "  "}]}, "empty_prompt"),
        ("", "empty_prompt"),
        ("x" * 65_537, "question_too_long"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}, "earlier_turns"),
        ({"messages": [{"role": "user", "content": "a"}], "tools": [{}]}, "tools"),
        ({"messages": [{"role": "user", "content": "a"}], "n": 3}, "several_answers"),
        ({"messages": [{"role": "user", "content": "a"}], "user": "u" * 1_048_576}, "request_too_large"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}
                ]
            },
            "not_only_text",
        ),
    ],
)
def test_what_is_not_collected_is_skipped_by_reason(request_body: Any, code: str) -> None:
    """No model is asked; the reason is raised and counted."""

    async def act(world: Outside) -> None:
        async with Fanout(world.config()) as fanout:
            with pytest.raises(SkippedError) as caught:
                await fanout.collect(request_body)
            assert caught.value.code == code
            assert fanout.stats()["skipped"] == {code: 1}
        assert code in SKIP_CODES
        assert world.requests == []

    run(act)


def test_conversations_are_collected_when_configured() -> None:
    """multi_turn: conversations are scored as the prompt rule renders them and sent as they are without `n`."""
    body = {
        "messages": [
            {"role": "user", "content": "1 + 1?"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": "And + 1?"},
        ],
        "n": 3,
        "tools": [{"type": "function", "function": {"name": "add"}}],
    }

    async def act(world: Outside) -> None:
        async with Fanout(world.config(multi_turn=True)) as fanout:
            point = await fanout.collect(body)
        rendered = "user: 1 + 1?\n\nassistant: 2\n\nuser: And + 1?"
        assert point.question == rendered
        assert {request.json["question"] for request in world.asked("/evaluate")} == {rendered}
        for request in world.asked("/chat/completions"):
            assert request.json["messages"] == body["messages"]
            assert request.json["tools"] == body["tools"]
            assert "n" not in request.json
        assert msgspec.json.decode(point.messages) == body["messages"]

    run(act)


def test_half_surrogate_pairs_are_sent_as_they_came_and_stored_as_text() -> None:
    """A question that UTF-8 cannot hold must cost neither the answers nor the data point."""

    async def act(world: Outside) -> None:
        body = json.loads('{"messages": [{"role": "user", "content": "a\\ud83d"}]}')
        world.model("general", lambda _: chat("42"))
        async with Fanout(world.config(["general"])) as fanout:
            point = await fanout.collect(body)
        assert point.question == "a�"
        assert b"\\ud83d" in world.asked("/chat/completions")[0].body

    run(act)


def test_a_request_that_json_cannot_hold_is_refused() -> None:
    """A body that cannot be sent is the caller's mistake."""

    async def act(world: Outside) -> None:
        async with Fanout(world.config()) as fanout:
            with pytest.raises(UsageError):
                await fanout.collect({"messages": [{"role": "user", "content": "a"}], "seed": object()})
            assert fanout.stats()["in_flight"] == 0

    run(act)


def test_a_model_s_key_comes_from_its_environment_variable() -> None:
    """Each model has its own key; when its variable is not set, the error names it."""

    async def act(world: Outside) -> None:
        config = world.config(["general"], model={"api_key_env": "GENERAL_KEY"})
        async with Fanout(config, environment={"GENERAL_KEY": "s3cret"}) as fanout:
            await fanout.collect("q")
        assert world.asked("/chat/completions")[0].headers["authorization"] == "Bearer s3cret"
        assert "authorization" not in world.asked("/evaluate")[0].headers
        with pytest.raises(ConfigIncompleteError, match="GENERAL_KEY"):
            Fanout(config, environment={})

    run(act)


@pytest.mark.parametrize(
    ("status", "said"), [(401, "http_status: 401 unknown: Bearer ***"), (200, "no_choices")]
)
def test_a_key_that_a_model_quotes_is_not_in_the_data_point(status: int, said: str) -> None:
    """Services quote a key that they do not know; data points are kept for months and read by many."""

    async def act(world: Outside) -> None:
        world.model(
            "general",
            lambda asked: as_json(
                {"error": {"message": f"unknown: {asked.headers['authorization']}"}}, status
            ),
        )
        config = world.config(["general"], model={"api_key_env": "GENERAL_KEY"})
        async with Fanout(config, environment={"GENERAL_KEY": "s3cret-key"}) as fanout:
            point = await fanout.collect("q")
        assert (point.responses["general"].error or "").startswith(said)
        assert b"s3cret" not in encode_point(point)

    run(act)


def test_what_the_configuration_leaves_open_is_named() -> None:
    """The missing address of a model is named before anything is asked."""
    config = Config.model_validate(
        {"data_collection": {"training": {"evaluate_endpoint": "http://127.0.0.1:1/"}}}
    )
    with pytest.raises(ConfigIncompleteError, match=r"models\.qwen-max\.base_url"):
        Fanout(config)


def test_a_configuration_can_be_changed_while_running() -> None:
    """The next request uses the new models; a refused change leaves everything as it was."""

    async def act(world: Outside) -> None:
        async with Fanout(world.config()) as fanout:
            fanout.use(world.config(["math"]))
            assert set((await fanout.collect("q")).responses) == {"math"}
            with pytest.raises(ConfigIncompleteError):
                fanout.use(Config())
            assert set((await fanout.collect("q")).responses) == {"math"}

    run(act)


def test_plan_samples_with_the_configuration_in_use() -> None:
    """plan() decides with the configuration in use, and counts what it leaves out."""

    async def act(world: Outside) -> None:
        async with Fanout(world.config(sampling_rate=0.0)) as fanout:
            with pytest.raises(SkippedError):
                fanout.plan("r1", {}, "general")
            plan = fanout.plan("r1", {"x-training-mode": "true"}, "general")
            point = await fanout.collect("q", plan=plan)
            assert fanout.stats()["skipped"] == {"sampled_out": 1}
        assert point.mode == "header"

    run(act)


def test_a_client_that_is_passed_in_is_used_and_left_open() -> None:
    """Any httpx.AsyncClient can take the place of the built-in connection pool."""

    async def act(world: Outside) -> None:
        async with httpx.AsyncClient(trust_env=False, headers={"x-mine": "yes"}) as client:
            async with Fanout(world.config(), client=client) as fanout:
                point = await fanout.collect("q")
            assert not client.is_closed
        assert point.scores == dict.fromkeys(CANDIDATES, 0.5)
        assert all(request.headers["x-mine"] == "yes" for request in world.requests)

    run(act)
