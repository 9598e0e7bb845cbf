"""One question to several models at once: what is sent, what is recorded, what is skipped, what ends."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from flywheel_core.collect import Answer, Fanout, Plan, Served
from flywheel_core.collect.answer import ANSWER_ERRORS
from flywheel_core.collect.scoring import SCORE_REASONS, code_of
from flywheel_core.collect.spend import Spend
from flywheel_core.config import Config
from flywheel_core.errors import SKIP_CODES, ConfigIncompleteError, SkippedError, StorageError, UsageError
from flywheel_core.prompt import PROMPT_RULE
from flywheel_core.records import encode_point
from flywheel_core.wire import decode_point
from tests.core.collect.outside import CANDIDATES, Outside, Reply, as_json, chat, until


def run(act: Callable[[Outside], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Outside() as world:
            await act(world)

    asyncio.run(main())


BODY = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}],
    "temperature": 0.2,
    "max_tokens": 50,
    "model": "auto",
    "stream": True,
    "stream_options": {"include_usage": True},
}


def test_one_question_gives_one_data_point() -> None:
    """Every model's answer, score, cost and latency, and how it came about."""

    async def act(world: Outside) -> None:
        world.scorer(lambda request: as_json({"score": 0.25 if "1 + 1" in request.json["question"] else 0}))
        async with Fanout(world.config()) as fanout:
            point = await fanout.collect("1 + 1?", decision_id="d1", tenant="t", user="u")
        assert (point.id, point.decision_id, point.question) == ("d1", "d1", "1 + 1?")
        assert (point.mode, point.sampling_rate, point.prompt_rule) == ("training", 1.0, PROMPT_RULE)
        assert (point.tenant, point.user, point.served_model) == ("t", "u", None)
        assert point.asked == dict.fromkeys(CANDIDATES, 1.0)
        assert point.scores == dict.fromkeys(CANDIDATES, 0.25)
        assert point.score_reasons is None
        for model in CANDIDATES:
            response = point.responses[model]
            assert (response.answer, response.error) == ("an answer to 1 + 1?", None)
            assert response.cost == pytest.approx((10 * 1.0 + 20 * 2.0) / 1e6)
            assert response.latency_ms is not None
        assert decode_point(encode_point(point)) == point

    run(act)


def test_the_whole_request_goes_to_every_model() -> None:
    """System prompt and parameters are sent, the stream is off, the model has its own name; scored is the question."""

    async def act(world: Outside) -> None:
        world.model("upstream", lambda _: chat("2"))
        config = world.config()
        math = config.models["math"].model_copy(
            update={"base_url": f"{world.url}/upstream", "upstream_name": "math-v2"}
        )
        config = config.model_copy(update={"models": {**config.models, "math": math}})
        async with Fanout(config) as fanout:
            point = await fanout.collect(BODY)
        sent = {request.json.pop("model"): request for request in world.asked("/chat/completions")}
        assert set(sent) == {"general", "math-v2", "code"}
        for name, request in sent.items():
            assert request.json == {
                "model": name,
                "stream": False,
                "messages": BODY["messages"],
                "temperature": 0.2,
                "max_tokens": 50,
            }
            assert request.headers["x-flywheel-collect"] == "1"
        assert {request.json["question"] for request in world.asked("/evaluate")} == {"1 + 1?"}
        assert msgspec.json.decode(point.messages) == BODY["messages"]

    run(act)


def test_each_answer_is_scored_the_moment_it_arrives() -> None:
    """The fast model's score does not wait for the slow model's answer."""

    async def act(world: Outside) -> None:
        scored = asyncio.Event()

        async def slow(_: Any) -> Reply:
            await scored.wait()  # answers only once the other's answer was scored
            return chat("slow")

        def score(request: Any) -> Reply:
            if request.json["answer"].startswith("an answer"):
                scored.set()
            return as_json({"score": 0.5})

        world.model("code", slow)
        world.scorer(score)
        async with Fanout(world.config()) as fanout:
            point = await fanout.collect("q")
        assert point.responses["code"].answer == "slow"
        assert point.scores == dict.fromkeys(CANDIDATES, 0.5)

    run(act)


def test_failures_are_told_apart_and_leave_the_others_alone() -> None:
    """One response for every model; the failed ones have an error, no score, and a reason for that."""

    async def act(world: Outside) -> None:
        replies = {
            "fine": chat("42"),
            "status": Reply(418),
            "type": Reply(headers={"content-type": "text/html"}),
            "garbage": Reply(body=b"{"),
            "choices": as_json({"choices": []}),
            "empty": chat(""),
            "cut": chat("4", "length"),
            "redirect": Reply(307, headers={"location": "/fine/v1/chat/completions"}),
            "large": Reply(body=b"a" * 5_000_000),
            "slow": Reply(hang=True),
            "broken": Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
            "packed": Reply(headers={"content-type": "application/json", "content-encoding": "gzip"}),
        }
        for name, reply in replies.items():
            world.model(name, lambda _, reply=reply: reply)  # type: ignore[misc] # bound as a default
        config = world.config(list(replies), retry_budget=0.0, model={"timeout": 0.5})
        away = config.models["fine"].model_copy(update={"base_url": "http://127.0.0.1:1"})
        config = config.model_copy(update={"models": {**config.models, "away": away}})
        async with Fanout(config) as fanout:
            point = await fanout.collect("q", plan=Plan((*replies, "away")))
            failures = fanout.stats()["failures"]
        codes = {name: code_of(response.error) for name, response in point.responses.items()}
        assert codes == {
            "fine": "",
            "status": "http_status",
            "type": "content_type",
            "garbage": "malformed_body",
            "choices": "no_choices",
            "empty": "empty_answer",
            "cut": "truncated",
            "redirect": "redirect",
            "large": "body_too_large",
            "slow": "timeout",
            "broken": "connection_lost",
            "packed": "malformed_body",
            "away": "connect_failed",
        }
        assert set(codes.values()) - {""} <= set(ANSWER_ERRORS)
        assert point.scores == {name: 0.5 if name == "fine" else None for name in codes}
        assert point.score_reasons == {name: "no_answer" for name in codes if name != "fine"}
        assert failures == {name: {code: 1} for name, code in codes.items() if code}
        assert len(world.asked("/evaluate")) == 1
        assert decode_point(encode_point(point)) == point

    run(act)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_temporary_failures_are_tried_again(status: int) -> None:
    """429 and 5xx once, then an answer: the answer counts, with the latency of the try that gave it."""

    async def act(world: Outside) -> None:
        replies = iter([Reply(status, delay=1.0), chat("42")])
        world.model("general", lambda _: next(replies))
        async with Fanout(world.config(["general"])) as fanout:
            point = await fanout.collect("q")
            assert fanout.stats()["retries"] == {"general": 1}
        assert point.responses["general"].answer == "42"
        assert (point.responses["general"].latency_ms or 0) < 1_000

    run(act)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_other_refusals_are_not_tried_again(status: int) -> None:
    """A 4xx will not get better."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: Reply(status))
        async with Fanout(world.config(["general"])) as fanout:
            point = await fanout.collect("q")
        assert (point.responses["general"].error or "").startswith(f"http_status: {status}")
        assert len(world.asked("/chat/completions")) == 1

    run(act)


def test_a_broken_connection_is_tried_again() -> None:
    """The connection breaks once, then an answer."""

    async def act(world: Outside) -> None:
        replies = iter([Reply(raw=b""), chat("42")])
        world.model("general", lambda _: next(replies))
        async with Fanout(world.config(["general"])) as fanout:
            assert (await fanout.collect("q")).responses["general"].answer == "42"

    run(act)


def test_retry_after_is_kept_to() -> None:
    """The second try comes no earlier than asked for."""

    async def act(world: Outside) -> None:
        loop = asyncio.get_running_loop()
        times: list[float] = []

        def busy_then_fine(_: Any) -> Reply:
            times.append(loop.time())
            return chat("42") if len(times) > 1 else Reply(429, headers={"retry-after": "1"})

        world.model("general", busy_then_fine)
        async with Fanout(world.config(["general"])) as fanout:
            assert (await fanout.collect("q")).responses["general"].answer == "42"
        assert times[1] - times[0] >= 1.0

    run(act)


def test_a_wait_that_would_not_end_in_time_is_not_begun() -> None:
    """Retry-After beyond the time budget: the failure is recorded at once."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: Reply(503, headers={"retry-after": "3600"}))
        async with Fanout(world.config(["general"], point_timeout=600)) as fanout:
            point = await asyncio.wait_for(fanout.collect("q"), 60)
        assert (point.responses["general"].error or "").startswith("http_status: 503")

    run(act)


def test_retries_stay_within_their_budget() -> None:
    """A model that always fails is asked again in at most a tenth of all calls, and two."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: Reply(500))
        async with Fanout(world.config(["general"], max_in_flight=1_000)) as fanout:
            await asyncio.gather(*(fanout.collect(f"q{number}") for number in range(100)))
            retries = fanout.stats()["retries"]["general"]
        assert 2 <= retries <= 12
        assert len(world.requests) == 100 + retries

    run(act)


def test_the_answer_that_the_user_has_is_not_asked_for_again() -> None:
    """It is scored like the others, and it costs nothing more."""

    async def act(world: Outside) -> None:
        async with Fanout(world.config()) as fanout:
            usage = msgspec.Raw(b'{"prompt_tokens":1000000,"completion_tokens":0}')
            served = Served("math", Answer("two", "stop", usage=usage), 123)
            point = await fanout.collect("1 + 1?", served=served, classification={"category": "math"})
            stats = fanout.stats()
        assert world.asked("/math/v1/chat/completions") == []
        response = point.responses["math"]
        assert (response.answer, response.latency_ms, response.cost) == ("two", 123, 1.0)
        assert point.served_model == "math"
        assert point.scores["math"] == 0.5
        assert msgspec.json.decode(point.classification) == {"category": "math"}
        assert stats["reused"] == {"math": 1}
        assert stats["spend_today"] == pytest.approx(2 * 50 / 1e6)

    run(act)


def test_a_served_answer_that_failed_is_recorded_as_a_failure() -> None:
    """The user's stream was cut: a failed response, not scored."""

    async def act(world: Outside) -> None:
        async with Fanout(world.config()) as fanout:
            served = Served("math", Answer("tw", error="truncated: the stream ended early"))
            point = await fanout.collect("q", served=served)
        assert point.responses["math"].failed
        assert point.scores["math"] is None

    run(act)


@pytest.mark.parametrize(
    ("request_body", "code"),
    [
        ({"prompt": "complete"}, "not_chat"),
        ({"messages": "x"}, "not_chat"),
        ({"messages": []}, "empty_prompt"),
        ({"messages": [{"role": "user", "content": "  "}]}, "empty_prompt"),
        ("", "empty_prompt"),
        ("x" * 65_537, "question_too_long"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}, "earlier_turns"),
        ({"messages": [{"role": "user", "content": "a"}], "tools": [{}]}, "tools"),
        ({"messages": [{"role": "user", "content": "a"}], "n": 3}, "several_answers"),
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
    """Nothing is asked; the reason is raised and counted."""

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
    """multi_turn: the conversation is scored as the prompt rule renders it, and sent as it is, for one answer."""
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
    """A question that UTF-8 cannot hold costs nobody anything."""

    async def act(world: Outside) -> None:
        body = json.loads('{"messages": [{"role": "user", "content": "a\\ud83d"}]}')
        world.model("general", lambda _: chat("42"))
        async with Fanout(world.config(["general"])) as fanout:
            point = await fanout.collect(body)
        assert point.question == "a�"
        assert b"\\ud83d" in world.asked("/chat/completions")[0].body

    run(act)


def test_a_request_that_is_no_json_is_refused() -> None:
    """What cannot be sent is a mistake of the caller."""

    async def act(world: Outside) -> None:
        async with Fanout(world.config()) as fanout:
            with pytest.raises(UsageError):
                await fanout.collect({"messages": [{"role": "user", "content": "a"}], "seed": object()})
            assert fanout.stats()["in_flight"] == 0

    run(act)


def test_beyond_the_bounds_points_are_skipped_and_nobody_waits() -> None:
    """max_in_flight for all, max_concurrency for a model; places come back."""

    async def act(world: Outside) -> None:
        release = asyncio.Event()

        async def held(_: Any) -> Reply:
            await release.wait()
            return chat("42")

        world.model("general", held)
        async with Fanout(world.config(max_in_flight=2, model={"max_concurrency": 2})) as fanout:
            first = asyncio.create_task(fanout.collect("q1"))
            second = asyncio.create_task(fanout.collect("q2", plan=Plan(("general",))))
            await until(lambda: world.under_way["/general/v1/chat/completions"] == 2)
            with pytest.raises(SkippedError) as caught:
                await fanout.collect("q3")
            assert caught.value.code == "busy"
            release.set()
            await asyncio.gather(first, second)
            release.clear()
            other = asyncio.create_task(fanout.collect("q4", plan=Plan(("general",))))
            await until(lambda: world.under_way["/general/v1/chat/completions"] == 1)
            fanout.use(world.config(max_in_flight=9, model={"max_concurrency": 1}))
            with pytest.raises(SkippedError) as caught:
                await fanout.collect("q5")
            assert caught.value.code == "model_busy"
            await fanout.collect("q6", plan=Plan(("math", "code")))
            release.set()
            await other
            stats = fanout.stats()
        assert stats["skipped"] == {"busy": 1, "model_busy": 1}
        assert (stats["in_flight"], stats["calls_under_way"], stats["points"]) == (0, {}, 4)
        assert world.most["/general/v1/chat/completions"] == 2

    run(act)


@pytest.mark.parametrize("at_once", [False, True])
def test_cancelling_leaves_nothing_running(at_once: bool) -> None:
    """Every call under way ends on the wire, every place comes back, whenever the caller goes."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: Reply(hang=True))
        world.model("math", lambda _: Reply(503, headers={"retry-after": "300"}))
        world.scorer(lambda _: Reply(hang=True))
        async with Fanout(world.config(point_timeout=600, model={"timeout": 600})) as fanout:
            task = asyncio.create_task(fanout.collect("q"))
            if at_once:
                await asyncio.sleep(0)
            else:
                await until(lambda: world.under_way["/v1/evaluate"] and len(world.requests) == 4)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            stats = fanout.stats()
            assert (stats["in_flight"], stats["calls_under_way"], stats["cancelled"]) == (0, {}, 1)
            await until(lambda: not any(world.under_way.values()))
            here = asyncio.current_task()
            await until(lambda: asyncio.all_tasks() - world.open == {here})
        await until(lambda: not world.open)

    run(act)


def test_the_time_budget_bounds_a_data_point() -> None:
    """Models that hang and a scorer that hangs: what there is comes when point_timeout is over, with reasons."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: Reply(hang=True))
        world.scorer(lambda _: Reply(hang=True))
        async with Fanout(world.config(point_timeout=0.5, training={"evaluate_timeout": 60_000})) as fanout:
            point = await asyncio.wait_for(fanout.collect("q"), 60)
        assert code_of(point.responses["general"].error) == "timeout"
        assert point.responses["math"].answer == "an answer to q"
        assert point.score_reasons == {"general": "no_answer", "math": "timeout", "code": "timeout"}
        assert set(point.score_reasons.values()) <= set(SCORE_REASONS)

    run(act)


def test_a_day_s_cost_stops_collection_in_every_mode() -> None:
    """Models and scorings count; the limit is shown; the next day goes on."""

    async def act(world: Outside) -> None:
        now = [1_000_000.0]
        spend = Spend(None, now=lambda: now[0])
        config = world.config(max_cost_per_day=0.4, score_cost=0.1)
        async with Fanout(config, spend=spend) as fanout:
            await fanout.collect("q1")
            assert fanout.stats()["spend_today"] == pytest.approx(0.3 + 150 / 1e6)
            await fanout.collect("q2")
            with pytest.raises(SkippedError) as caught:
                await fanout.collect("q3", plan=Plan(CANDIDATES, "header"))
            assert caught.value.code == "cost_limit"
            assert fanout.stats()["max_cost_per_day"] == 0.4
            now[0] += 86_400
            await fanout.collect("q4")

    run(act)


def test_what_was_spent_outlives_a_restart(tmp_path: Path) -> None:
    """The count of the day is kept in a file."""

    async def act(world: Outside) -> None:
        file = tmp_path / "spend.json"
        config = world.config(score_cost=0.1)
        async with Fanout(config, spend=Spend(1.0, file)) as fanout:
            await fanout.collect("q1")
        again = Spend(1.0, file)
        assert again.today == pytest.approx(0.3 + 150 / 1e6)
        file.write_text("{")
        with pytest.raises(StorageError, match="remove the file"):
            Spend(1.0, file)

    run(act)


def test_answers_without_usage_have_no_cost_and_are_counted() -> None:
    """What cannot be priced is null and shown, not 0."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: chat("42", tokens=None))
        async with Fanout(world.config(["general"])) as fanout:
            point = await fanout.collect("q")
            assert fanout.stats()["unpriced"] == 1
        assert point.responses["general"].cost is None

    run(act)


def test_a_model_s_key_comes_from_its_environment_variable() -> None:
    """Each model has its own; without it the setting is named."""

    async def act(world: Outside) -> None:
        config = world.config(["general"], model={"api_key_env": "GENERAL_KEY"})
        async with Fanout(config, environment={"GENERAL_KEY": "s3cret"}) as fanout:
            await fanout.collect("q")
        assert world.asked("/chat/completions")[0].headers["authorization"] == "Bearer s3cret"
        assert "authorization" not in world.asked("/evaluate")[0].headers
        with pytest.raises(ConfigIncompleteError, match="GENERAL_KEY"):
            Fanout(config, environment={})

    run(act)


def test_what_the_configuration_leaves_open_is_named() -> None:
    """A model's address, before anything is asked."""
    config = Config.model_validate(
        {"data_collection": {"training": {"evaluate_endpoint": "http://127.0.0.1:1/"}}}
    )
    with pytest.raises(ConfigIncompleteError, match=r"models\.qwen-max\.base_url"):
        Fanout(config)


def test_a_configuration_can_be_changed_while_running() -> None:
    """Models change for the next request; a refused change leaves all as it was."""

    async def act(world: Outside) -> None:
        async with Fanout(world.config()) as fanout:
            fanout.use(world.config(["math"]))
            assert set((await fanout.collect("q")).responses) == {"math"}
            with pytest.raises(ConfigIncompleteError):
                fanout.use(Config())
            assert set((await fanout.collect("q")).responses) == {"math"}

    run(act)


def test_sampling_is_part_of_it() -> None:
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


def test_a_client_of_one_s_own_is_used_and_left_open() -> None:
    """Any httpx.AsyncClient takes the place of our connections."""

    async def act(world: Outside) -> None:
        async with httpx.AsyncClient(trust_env=False, headers={"x-mine": "yes"}) as client:
            async with Fanout(world.config(), client=client) as fanout:
                point = await fanout.collect("q")
            assert not client.is_closed
        assert point.scores == dict.fromkeys(CANDIDATES, 0.5)
        assert all(request.headers["x-mine"] == "yes" for request in world.requests)

    run(act)


def test_after_close_nothing_is_taken() -> None:
    """And closing twice is fine."""

    async def act(world: Outside) -> None:
        fanout = Fanout(world.config())
        await fanout.collect("q")
        await fanout.close()
        await fanout.close()
        with pytest.raises(SkippedError) as caught:
            await fanout.collect("q")
        assert caught.value.code == "closed"

    run(act)
