"""Scores: a number in 0..1, or none and the reason why; several concurrently, repeated, and tried again."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flywheel_core.collect import Scored, Scorer
from flywheel_core.collect.http import Reply as HttpReply
from flywheel_core.collect.scoring import SCORE_REASONS, code_of, read_score
from flywheel_core.collect.stats import CollectStats
from flywheel_core.config import Config
from flywheel_core.errors import ConfigIncompleteError
from tests.core.collect.outside import Outside, Reply, as_json, until


def run(act: Callable[[Outside], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Outside() as world:
            await act(world)

    asyncio.run(main())


@pytest.mark.parametrize("score", [0, 0.0, 0.25, 1, 1.0, 1e-9])
def test_scores_in_range_are_taken(score: float) -> None:
    """0 and 1 are included, and integers are taken too."""
    assert read_score(
        HttpReply(200, {"content-type": "application/json"}, json.dumps({"score": score}).encode())
    ) == (Scored(float(score)))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"score": -1}', "invalid"),
        (b'{"score": -1.0}', "invalid"),
        (b"{}", "absent"),
        (b'{"score": null}', "absent"),
        (b'{"score": "0.9"}', "not_a_number"),
        (b'{"score": true}', "not_a_number"),
        (b'{"score": [1]}', "not_a_number"),
        (b'{"score": NaN}', "not_finite"),
        (b'{"score": Infinity}', "not_finite"),
        (b'{"score": 1e999}', "not_finite"),
        (b'{"score": 1.01}', "out_of_range: 1.01"),
        (b'{"score": -0.5}', "out_of_range: -0.5"),
        (b'{"score": 1.0000001}', "out_of_range: 1.0000001"),
        (b'{"score": 1' + b"0" * 400 + b"}", "out_of_range"),
        (b"[0.5]", "malformed_body"),
        (b"0.5", "malformed_body"),
        (b"{", "malformed_body"),
        (b"\xff", "malformed_body"),
        (b"[" * 100_000, "malformed_body"),
    ],
)
def test_everything_else_is_no_score_with_a_reason(body: bytes, reason: str) -> None:
    """It is never 0 and never -1: there is no score, and a reason why."""
    scored = read_score(HttpReply(200, {"content-type": "application/json"}, body))
    assert (scored.value, scored.reason) == (None, reason)
    assert code_of(reason) in SCORE_REASONS


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(400), "http_status: 400"),
        (Reply(500), "http_status: 500"),
        (Reply(302, headers={"location": "/elsewhere"}), "http_status: 302"),
        (Reply(body=b'{"score": 0.5}', headers={"content-type": "text/html"}), "content_type"),
        (Reply(body=b"a" * 70_000), "body_too_large"),
        (Reply(hang=True), "timeout"),
        (Reply(raw=b""), "connection"),
    ],
    ids=["4xx", "5xx", "redirect", "html", "large", "slow", "cut"],
)
def test_a_scorer_that_fails_gives_no_score(reply: Reply, reason: str) -> None:
    """The scorer's failure is a missing score, and is told apart from the model's failure."""

    async def act(world: Outside) -> None:
        world.scorer(lambda _: reply)
        stats = CollectStats()
        patience = 300 if reason == "timeout" else 20_000
        config = world.config(training={"evaluate_timeout": patience}, point_timeout=20, retry_budget=0.0)
        async with Scorer(config, stats=stats) as scorer:
            scored = await scorer.score("q", "a")
        assert scored.value is None
        assert (scored.reason or "").startswith(reason)
        assert stats.missing_scores[code_of(scored.reason)] == 1
        assert stats.scores == 0

    run(act)


def test_a_scorer_that_is_away_is_logged_once_and_so_is_its_return(caplog: pytest.LogCaptureFixture) -> None:
    """Days without scores have no labels, but no user waits for a score: only this line tells anybody."""

    async def act(world: Outside) -> None:
        async with Scorer(world.config(retry_budget=0.0)) as scorer:
            replies = [*[as_json({"score": -1})] * 20, *[Reply(500)] * 9, as_json({"score": 1})]
            waiting = iter(replies)
            world.scorer(lambda _: next(waiting))
            for _ in replies:
                await scorer.score("q", "a")
            assert not caplog.records, "what is invalid is no failure, and nine failures are no outage"
            world.scorer(lambda _: Reply(500))
            for _ in range(25):
                await scorer.score("a secret question", "a secret answer")
            (away,) = caplog.records
            assert (away.message, vars(away)["reason"]) == ("scorer_away", "http_status")
            world.scorer(lambda _: as_json({"score": 1}))
            for _ in range(3):
                await scorer.score("q", "a")
            assert caplog.messages == ["scorer_away", "scorer_back"]
            assert "flywheel rescore" in vars(caplog.records[1])["hint"]

    run(act)


def test_what_is_scored_is_the_question_and_the_answer() -> None:
    """The two fields of the contract are sent, in UTF-8, with the mark of Flywheel's own calls."""

    async def act(world: Outside) -> None:
        async with Scorer(world.config()) as scorer:
            assert await scorer.score("求解", "x = 1") == Scored(0.5)
        assert world.requests[0].json == {"question": "求解", "answer": "x = 1"}
        assert world.requests[0].headers["x-flywheel-collect"] == "1"

    run(act)


def test_half_surrogate_pairs_are_scored_as_text() -> None:
    async def act(world: Outside) -> None:
        async with Scorer(world.config()) as scorer:
            scored = await scorer.score("q \ud83d", "a \ude00")
        assert scored.value == 0.5
        assert world.asked("/evaluate")[0].json == {"question": "q \ufffd", "answer": "a \ufffd"}

    run(act)


def test_many_answers_are_scored_at_once() -> None:
    """All scorings run concurrently, and each model gets its own score."""

    async def act(world: Outside) -> None:
        together = asyncio.Event()

        async def score(request: Any) -> Reply:
            if world.under_way["/v1/evaluate"] == 3:
                together.set()
            await together.wait()
            return as_json({"score": float(request.json["answer"])})

        world.scorer(score)
        async with Scorer(world.config()) as scorer:
            scored = await scorer.score_many("q", {"a": "0.1", "b": "0.2", "c": "0.3"})
        assert {model: one.value for model, one in scored.items()} == {"a": 0.1, "b": 0.2, "c": 0.3}

    run(act)


def test_repeated_scores_keep_mean_and_spread() -> None:
    """Several scorings of one answer give their mean and standard deviation; missing ones are left out."""

    async def act(world: Outside) -> None:
        replies = iter([{"score": 0.2}, {"score": 0.6}, {"score": -1}])
        world.scorer(lambda _: as_json(next(replies)))
        async with Scorer(world.config(score_repeats=3)) as scorer:
            scored = await scorer.score("q", "a")
        assert scored.value == pytest.approx(0.4)
        assert scored.spread == pytest.approx(0.2)
        assert scored.reason is None

    run(act)


def test_a_single_score_that_came_of_several_has_no_spread() -> None:
    async def act(world: Outside) -> None:
        replies = iter([{"score": 0.2}, {"score": -1}, {"score": 7}])
        world.scorer(lambda _: as_json(next(replies)))
        async with Scorer(world.config(score_repeats=3)) as scorer:
            assert await scorer.score("q", "a") == Scored(0.2, None, None)

    run(act)


def test_repeated_scores_that_all_fail_are_one_missing_score() -> None:
    """There is no score, and the reason is kept."""

    async def act(world: Outside) -> None:
        world.scorer(lambda _: as_json({"score": 7}))
        async with Scorer(world.config(score_repeats=2)) as scorer:
            assert await scorer.score("q", "a") == Scored(None, "out_of_range: 7")

    run(act)


def test_a_scorer_that_recovers_is_asked_again() -> None:
    """One 503 and then a score: that takes one retry."""

    async def act(world: Outside) -> None:
        replies = iter([Reply(503), as_json({"score": 0.75})])
        world.scorer(lambda _: next(replies))
        stats = CollectStats()
        async with Scorer(world.config(), stats=stats) as scorer:
            assert await scorer.score("q", "a") == Scored(0.75)
        assert stats.retries["scorer"] == 1

    run(act)


def test_cancelling_leaves_no_scoring_under_way() -> None:
    """All repeated scorings end when their caller does."""

    async def act(world: Outside) -> None:
        world.scorer(lambda _: Reply(hang=True))
        async with Scorer(world.config(score_repeats=4)) as scorer:
            task = asyncio.create_task(scorer.score("q", "a"))
            await until(lambda: len(world.requests) == 4)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: world.gone == 4)

    run(act)


def test_without_an_address_the_setting_is_named() -> None:
    """The error names the setting that the configuration leaves open."""
    with pytest.raises(ConfigIncompleteError, match="evaluate_endpoint"):
        Scorer(Config())
