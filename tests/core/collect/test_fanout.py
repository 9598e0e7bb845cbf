"""One question to several models at once: what is sent, what is recorded, how failures are distinguished."""

import asyncio
from typing import Any

import msgspec
import pytest

from flywheel_core.collect import Answer, Fanout, Plan, Served
from flywheel_core.collect.answer import ANSWER_ERRORS
from flywheel_core.collect.scoring import code_of
from flywheel_core.prompt import PROMPT_RULE
from flywheel_core.records import encode_point
from flywheel_core.wire import decode_point
from tests.core.collect.asking import BODY, run
from tests.core.collect.outside import CANDIDATES, Outside, Reply, as_json, chat


def test_one_question_gives_one_data_point() -> None:
    """It has every model's answer, score, cost and latency, and records how it came about."""

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
    """System prompt and parameters are sent, streaming is off, and each model gets its own name.

    The scorer gets the question alone.
    """

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
        named = {name: request.headers.get("x-higress-llm-model") for name, request in sent.items()}
        assert named == {
            "general": "general",
            "math-v2": "math",
            "code": "code",
        }  # as on a user's own request
        assert named == {name: request.headers.get("x-ai-eg-model") for name, request in sent.items()}
        assert {request.json["question"] for request in world.asked("/evaluate")} == {"1 + 1?"}
        assert msgspec.json.decode(point.messages) == BODY["messages"]

    run(act)


@pytest.mark.parametrize(
    ("further", "sent"),
    [
        ({"store": True, "service_tier": "priority"}, {}),
        ({"store": False, "service_tier": "flex"}, {"store": False, "service_tier": "flex"}),
        ({"store": None, "service_tier": None}, {"store": None, "service_tier": None}),
        ({"store": True, "metadata": {"run": "7"}}, {}),
        ({"metadata": {"run": "7"}}, {"metadata": {"run": "7"}}),
    ],
)
def test_what_a_client_wants_for_its_own_answer_alone_is_not_repeated(
    further: dict[str, Any], sent: dict[str, Any]
) -> None:
    """Copies among its stored completions with what describes them, or the price of speed.

    OpenAI answers 400 to metadata without store.
    """

    async def act(world: Outside) -> None:
        async with Fanout(world.config()) as fanout:
            await fanout.collect({**BODY, **further})
        for request in world.asked("/chat/completions"):
            assert {name: request.json[name] for name in further if name in request.json} == sent

    run(act)


def test_each_answer_is_scored_the_moment_it_arrives() -> None:
    """The fast model's score does not wait for the slow model's answer."""

    async def act(world: Outside) -> None:
        scored = asyncio.Event()

        async def slow(_: Any) -> Reply:
            await scored.wait()  # answers only once another model's answer was scored
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
    """Every model has a response; a failed one has an error, no score, and the reason why there is none."""

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


def test_the_answer_that_the_user_has_is_not_asked_for_again() -> None:
    """It is scored like the others and costs nothing more."""

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


def test_half_surrogate_pairs_in_a_served_answer_are_stored_and_scored_as_text() -> None:
    """Python's parser leaves halves where a stream cuts an emoji in two; the other models are paid for by then."""

    async def act(world: Outside) -> None:
        async with Fanout(world.config()) as fanout:
            point = await fanout.collect("q", served=Served("math", Answer("two \ud83d")))
        assert point.responses["math"].answer == "two \ufffd"
        assert set(point.scores.values()) == {0.5}
        assert decode_point(encode_point(point)) == point

    run(act)


def test_a_served_answer_that_failed_is_recorded_as_a_failure() -> None:
    """The user's stream was cut off: that is a failed response, and it is not scored."""

    async def act(world: Outside) -> None:
        async with Fanout(world.config()) as fanout:
            served = Served("math", Answer("tw", error="truncated: the stream ended early"))
            point = await fanout.collect("q", served=served)
        assert point.responses["math"].failed
        assert point.scores["math"] is None

    run(act)
