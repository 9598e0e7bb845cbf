"""Faults that the collection of other gateways is known for; none of them is present here."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flywheel_core.collect import Answer, Fanout, Served, Uploader, plan_collection
from flywheel_core.collect.upload import MAX_UPLOADS
from flywheel_core.config_file import load_config
from flywheel_core.errors import ConfigError, SkippedError, UsageError
from flywheel_core.records import encode_point
from flywheel_core.wire import decode_point
from tests.core.collect.outside import CANDIDATES, Outside, Reply, as_json, chat, until


def run(act: Callable[[Outside], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Outside() as world:
            await act(world)

    asyncio.run(main())


def taking(stored: list[dict[str, Any]]) -> Callable[[Any], Reply]:
    """Return a handler that plays a collector and adds every point to `stored`."""

    def take(request: Any) -> Reply:
        points = request.json["data_points"]
        stored.extend(points)
        return as_json({"status": "success", "count": len(points), "rejected": []})

    return take


def test_fault_01_one_collector_serves_all_requests(tmp_path: Path) -> None:
    """Nothing that is created for one request outlives it, and batches fill across requests."""

    async def act(world: Outside) -> None:
        world.collector(taking([]))
        config = world.config(training={"batch_size": 10})
        async with Fanout(config) as fanout, Uploader(config, tmp_path) as uploader:
            await uploader.offer(await fanout.collect("first"))
            tasks = len(asyncio.all_tasks() - world.open)
            for number in range(29):
                await uploader.offer(await fanout.collect(f"q{number}"))
            await until(lambda: uploader.acknowledged == 30)
            await until(lambda: len(asyncio.all_tasks() - world.open) == tasks)
        assert [request.json["count"] for request in world.asked("/collect")] == [10, 10, 10]
        assert world.connections <= 2 * len(CANDIDATES) + 1

    run(act)


def test_fault_02_models_have_addresses_and_time_outs_of_their_own() -> None:
    """The scorer's address and time-out apply to the scorer alone."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: Reply(**{**vars(chat("slow but fine")), "delay": 0.3}))
        async with Fanout(world.config(training={"evaluate_timeout": 100})) as fanout:
            point = await fanout.collect("q")
        assert point.responses["general"].answer == "slow but fine"
        assert {request.path for request in world.requests} == {
            *(f"/{model}/v1/chat/completions" for model in CANDIDATES),
            "/v1/evaluate",
        }

    run(act)


@pytest.mark.parametrize("status", [429, 500])
def test_fault_03_a_failed_status_is_a_failure_whatever_its_body(status: int) -> None:
    """A JSON body does not turn a 429 or a 500 into an answer."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: Reply(status, chat("42").body))
        async with Fanout(world.config(["general"])) as fanout:
            response = (await fanout.collect("q")).responses["general"]
        assert response.failed
        assert response.answer is None
        assert (response.error or "").startswith(f"http_status: {status}")

    run(act)


def test_fault_04_a_failed_upload_loses_nothing(tmp_path: Path) -> None:
    """The batch is kept, on disk, until the collector has it."""

    async def act(world: Outside) -> None:
        stored: list[dict[str, Any]] = []
        replies = iter([Reply(500), Reply(raw=b""), Reply(503)])
        world.collector(lambda request: next(replies, None) or taking(stored)(request))
        config = world.config(training={"batch_size": 2})
        async with Fanout(config) as fanout, Uploader(config, tmp_path) as uploader:
            points = [await fanout.collect(f"q{number}") for number in range(4)]
            for point in points:
                await uploader.offer(point)
            await until(lambda: uploader.acknowledged == 4)
        assert sorted(one["id"] for one in stored) == sorted(point.id for point in points)

    run(act)


def test_fault_05_close_waits_works_twice_and_strands_nothing(tmp_path: Path) -> None:
    """What was offered is stored when close returns; a later offer is refused."""

    async def act(world: Outside) -> None:
        stored: list[dict[str, Any]] = []
        world.collector(taking(stored))
        config = world.config()
        async with Fanout(config) as fanout:
            point = await fanout.collect("q")
        uploader = Uploader(config, tmp_path)
        await uploader.start()
        await uploader.offer(point)
        await uploader.close()
        assert [one["id"] for one in stored] == [point.id]
        await uploader.close()
        with pytest.raises(UsageError):
            await uploader.offer(point)

    run(act)


def test_fault_06_concurrency_is_bounded_and_temporary_failures_are_retried() -> None:
    """No more calls run than configured, what goes beyond that is skipped, and a 503 is tried again."""

    async def act(world: Outside) -> None:
        failed: set[str] = set()

        def sometimes(request: Any) -> Reply:
            question = request.json["messages"][0]["content"]
            if not failed:
                failed.add(question)
                return Reply(503)
            return Reply(**{**vars(chat("42")), "delay": 0.05})

        world.model("general", sometimes)
        async with Fanout(world.config(["general"], max_in_flight=5)) as fanout:
            calls = [fanout.collect(f"q{number}") for number in range(20)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            stats = fanout.stats()
        points = [one for one in results if not isinstance(one, BaseException)]
        assert len(points) == 5
        assert all(point.responses["general"].answer == "42" for point in points)
        assert stats["skipped"] == {"busy": 15}
        assert stats["retries"] == {"general": 1}
        assert world.most["/general/v1/chat/completions"] <= 5

    run(act)


def test_fault_06_calls_to_one_model_and_uploads_are_bounded(tmp_path: Path) -> None:
    """Of twenty at once, `max_concurrency` reach the model and `MAX_UPLOADS` reach the collector."""

    async def act(world: Outside) -> None:
        opened = asyncio.Event()

        async def take(request: Any) -> Reply:
            await opened.wait()
            return taking([])(request)

        world.collector(take)
        world.model("general", lambda _: Reply(**{**vars(chat("42")), "delay": 0.05}))
        config = world.config(["general"], model={"max_concurrency": 2}, training={"batch_size": 1})
        async with Fanout(config) as fanout, Uploader(config, tmp_path) as uploader:
            calls = [fanout.collect(f"q{number}") for number in range(20)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert fanout.stats()["skipped"] == {"model_busy": 18}
            assert world.most["/general/v1/chat/completions"] == 2
            (point, _) = [one for one in results if not isinstance(one, BaseException)]
            for _ in range(20):
                await uploader.offer(point)
            await until(lambda: world.under_way["/collect"] >= MAX_UPLOADS)
            assert uploader.stats()["uploads"] == MAX_UPLOADS
            opened.set()
            await until(lambda: uploader.acknowledged == 20)

    run(act)


def test_fault_07_answers_are_scored_at_once_and_slow_scoring_is_no_score_of_minus_one() -> None:
    """All answers are scored concurrently; only a scoring that takes too long is missing, with its reason."""

    async def act(world: Outside) -> None:
        together = asyncio.Event()

        async def score(request: Any) -> Reply:
            if world.under_way["/v1/evaluate"] == len(CANDIDATES):
                together.set()
            await together.wait()  # answers nobody until everybody has asked
            return Reply(hang=True) if request.json["answer"] == "slow" else as_json({"score": 0.5})

        world.model("math", lambda _: chat("slow"))
        world.scorer(score)
        async with Fanout(world.config(training={"evaluate_timeout": 2_000})) as fanout:
            point = await fanout.collect("q")
        assert point.scores == {"general": 0.5, "math": None, "code": 0.5}
        assert point.score_reasons == {"math": "timeout"}

    run(act)


@pytest.mark.parametrize("body", [{"score": -1}, {}, {"score": 1.5}, {"score": "0.9"}, {"score": None}])
def test_fault_08_what_is_no_score_is_null_with_a_reason(body: dict[str, Any]) -> None:
    """It is never -1, never 0.0 and never out of range."""

    async def act(world: Outside) -> None:
        world.scorer(lambda _: as_json(body))
        async with Fanout(world.config(["general"])) as fanout:
            point = await fanout.collect("q")
        assert point.scores == {"general": None}
        assert set(point.score_reasons or {}) == {"general"}

    run(act)


def test_fault_09_the_sampling_rate_is_read_and_settings_are_checked(tmp_path: Path) -> None:
    """Rate 0 collects nothing; an interval of 0 is refused, with its place in the file."""

    async def act(world: Outside) -> None:
        with pytest.raises(SkippedError) as caught:
            plan_collection(world.config(sampling_rate=0.0), "r1", {}, "general")
        assert caught.value.code == "sampled_out"

    run(act)
    file = tmp_path / "flywheel.yaml"
    file.write_text("data_collection:\n  training:\n    flush_interval: 0\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"flywheel\.yaml:3: data_collection\.training\.flush_interval"):
        load_config(file, {})


def test_fault_10_the_whole_request_is_sent_and_the_served_answer_is_reused() -> None:
    """System prompt and parameters arrive, and the model that answered the user is not asked again."""
    body = {
        "messages": [{"role": "system", "content": "Briefly."}, {"role": "user", "content": "q"}],
        "temperature": 0.1,
    }

    async def act(world: Outside) -> None:
        async with Fanout(world.config()) as fanout:
            await fanout.collect(body, served=Served("general", Answer("42", "stop"), 9))
        sent = world.asked("/chat/completions")
        assert sorted(request.path for request in sent) == [
            "/code/v1/chat/completions",
            "/math/v1/chat/completions",
        ]
        for request in sent:
            assert request.json["messages"] == body["messages"]
            assert request.json["temperature"] == 0.1

    run(act)


def test_fault_11_points_have_ids_errors_have_words_and_the_classification_is_filled() -> None:
    """Each point has its own id, an error says what happened, and the decision is part of the point."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: Reply(400, b'{"error": {"message": "bad prompt"}}'))
        decision = {"category": "math", "confidence": 0.9, "model": "math", "reason": "router"}
        async with Fanout(world.config()) as fanout:
            first = await fanout.collect("q", decision_id="d1", classification=decision)
            others = [await fanout.collect("q") for _ in range(2)]
        line = json.loads(encode_point(first))
        assert line["id"] == "d1"
        assert len({point.id for point in [first, *others]}) == 3
        assert line["responses"]["general"]["error"] == "http_status: 400 bad prompt"
        assert line["classification"] == decision
        assert msgspec.json.decode(decode_point(encode_point(first)).classification) == decision

    run(act)


def test_fault_12_bodies_are_bounded_cut_answers_are_not_scored_and_nothing_recurses() -> None:
    """A large body is refused, a truncated answer is a failure, an address that leads back causes no loop."""

    async def act(world: Outside) -> None:
        config = world.config()
        recursions: list[str] = []

        def gateway(request: Any) -> Reply:
            try:
                plan_collection(config, "r", request.headers, "general")
            except SkippedError as skip:
                recursions.append(skip.code)
            return chat("42")

        world.model("general", gateway)
        world.model("math", lambda _: Reply(body=b" " * 5_000_000))
        world.model("code", lambda _: chat("The answer is", "length"))
        async with Fanout(config) as fanout:
            point = await fanout.collect("q")
        assert recursions == ["marked"]
        assert point.responses["math"].error == "body_too_large"
        assert (point.responses["code"].error or "").startswith("truncated")
        assert point.scores == {"general": 0.5, "math": None, "code": None}
        assert len(world.asked("/evaluate")) == 1

    run(act)
