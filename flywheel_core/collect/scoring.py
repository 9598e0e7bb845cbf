"""Score an answer with `/v1/evaluate`: a number in 0..1, or no score and the reason why."""

import asyncio
import json
import logging
import math
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx
import msgspec

from flywheel_core.collect.addresses import guard_of
from flywheel_core.collect.answer import is_json_type
from flywheel_core.collect.http import Endpoint, Http, Reply
from flywheel_core.collect.pool import PooledHttp
from flywheel_core.collect.retries import RetryBudget, post_with_retries
from flywheel_core.collect.sampling import MARK_HEADER
from flywheel_core.collect.stats import CollectStats
from flywheel_core.config import Config
from flywheel_core.errors import UpstreamError
from flywheel_core.prompt import clean

SCORE_REASONS = {
    "no_answer": "the model gave no whole answer, so there was nothing to score",
    "invalid": "the scorer answered -1: question or answer is invalid to it",
    "absent": "the scorer's reply has no score",
    "not_a_number": "the score is not a number",
    "not_finite": "the score is NaN or infinite",
    "out_of_range": "the score is neither in 0..1 nor -1",
    "malformed_body": "the scorer's reply is not a JSON object",
    "content_type": "the scorer's reply is not JSON by its Content-Type",
    "http_status": "the scorer's status is not 200",
    "body_too_large": "the scorer's reply is larger than 64 KiB",
    "address_blocked": "the scorer's address is link-local or a cloud's metadata service",
    "connection": "the scorer could not be reached, or the connection broke",
    "timeout": "no score within training.evaluate_timeout, or within the time left of point_timeout",
}
"""Why an answer has no score: code -> meaning. Details may follow the code after a colon."""

MAX_SCORE_BYTES = 65_536

AWAY_AFTER = 10
"""Number of answers in a row without a score after which the log reports the scorer as away."""

log = logging.getLogger(__name__)


class _Reply(msgspec.Struct):
    score: Any = None


_REPLY = msgspec.json.Decoder(_Reply)


@dataclass(frozen=True, slots=True)
class Scored:
    """The score of one answer.

    value: 0..1, the mean of repeated scores, or None if there is none; reason: None, or a code of
    `SCORE_REASONS` with details; spread: standard deviation of repeated scores, None for a single one.
    """

    value: float | None
    reason: str | None = None
    spread: float | None = None


class Scorer:
    """Asks the configured scorer.

        async with Scorer(config) as scorer:
            scored = await scorer.score("1 + 1?", "2")

    http, stats, budget: those of a fan-out that the scorer is part of; its own by default. Raises
    ConfigIncompleteError when `data_collection.training.evaluate_endpoint` is not set.
    """

    def __init__(
        self,
        config: Config,
        *,
        http: Http | None = None,
        stats: CollectStats | None = None,
        budget: RetryBudget | None = None,
    ) -> None:
        settings = config.data_collection
        address = config.require("data_collection.training.evaluate_endpoint")
        self._endpoint = Endpoint(address, {"accept": "application/json", MARK_HEADER: "1"})
        self._timeout = settings.training.evaluate_timeout / 1000
        self._point_timeout = settings.point_timeout
        self._repeats = settings.score_repeats
        self._owns_http = http is None
        self._http = http or PooledHttp(guard=guard_of(config))
        self._stats = stats or CollectStats()
        self._budget = budget or RetryBudget(settings.retry_budget)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, unless they belong to a fan-out."""
        if self._owns_http:
            await self._http.close()

    async def score(self, question: str, answer: str, *, ends: float | None = None) -> Scored:
        """Return the score of one answer, asking for it `data_collection.score_repeats` times at once.

        ends: the event loop's time by which it must be over; `point_timeout` from now by default.
        """
        loop_end = asyncio.get_running_loop().time() + self._point_timeout if ends is None else ends
        body = msgspec.json.encode({"question": clean(question), "answer": clean(answer)})
        if self._repeats == 1:
            scored = await self._once(body, loop_end)
        else:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._once(body, loop_end)) for _ in range(self._repeats)]
            scored = _combined([task.result() for task in tasks])
        self._count(scored)
        return scored

    async def score_many(self, question: str, answers: Mapping[str, str]) -> dict[str, Scored]:
        """Score several models' answers to one question at once; return model -> score."""
        async with asyncio.TaskGroup() as group:
            tasks = {
                model: group.create_task(self.score(question, answer)) for model, answer in answers.items()
            }
        return {model: task.result() for model, task in tasks.items()}

    async def _once(self, body: bytes, ends: float) -> Scored:
        self._stats.scorings += 1
        attempt = await post_with_retries(
            self._http,
            self._endpoint,
            body,
            call_timeout=self._timeout,
            ends=ends,
            max_bytes=MAX_SCORE_BYTES,
            budget=self._budget,
            on_retry=self._count_retry,
        )
        if attempt.reply is not None:
            return read_score(attempt.reply)
        if isinstance(attempt.error, UpstreamError):
            return Scored(None, attempt.error.code)
        if isinstance(attempt.error, httpx.TimeoutException) and not isinstance(
            attempt.error, httpx.ConnectTimeout
        ):
            return Scored(None, "timeout")
        return Scored(None, f"connection: {attempt.error}"[:300])

    def _count_retry(self) -> None:
        self._stats.retries["scorer"] += 1

    def _count(self, scored: Scored) -> None:
        """Count a result, and log when the scorer goes away or comes back.

        Days without scores have no labels, and no user is kept waiting who would notice, so the log must
        tell.
        """
        stats = self._stats
        if scored.value is not None:
            stats.scores += 1
            if stats.unscored_in_a_row >= AWAY_AFTER:
                log.warning(
                    "scorer_back", extra={"hint": "flywheel rescore DAY gets the scores that are missing"}
                )
            stats.unscored_in_a_row = 0
            return
        code = code_of(scored.reason)
        stats.missing_scores[code] += 1
        if code == "invalid":
            return
        stats.unscored_in_a_row += 1
        if stats.unscored_in_a_row == AWAY_AFTER:
            log.warning("scorer_away", extra={"reason": code})


def read_score(reply: Reply) -> Scored:
    """Return the score in a reply of `/v1/evaluate`: a number in 0..1 or no score. Never raises."""
    if reply.status != 200:
        return Scored(None, f"http_status: {reply.status}")
    if not is_json_type(reply.headers.get("content-type")):
        return Scored(None, "content_type")
    try:
        score = _REPLY.decode(reply.body).score
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        try:
            # Python's parser accepts NaN and Infinity, which scorers written in Python may send.
            value: Any = json.loads(reply.body)
            score = value["score"]
        except (ValueError, RecursionError, TypeError, KeyError):
            return Scored(None, "malformed_body")
    if score is None:
        return Scored(None, "absent")
    if isinstance(score, bool) or not isinstance(score, int | float):
        return Scored(None, "not_a_number")
    if score == -1:
        return Scored(None, "invalid")
    if isinstance(score, float) and not math.isfinite(score):
        return Scored(None, "not_finite")
    if not 0 <= score <= 1:
        return Scored(None, f"out_of_range: {score!r}" if abs(score) < 1e9 else "out_of_range")
    return Scored(float(score))


def code_of(reason: str | None) -> str:
    """Return the code that a reason or error starts with."""
    return (reason or "").partition(":")[0]


def _combined(scores: list[Scored]) -> Scored:
    """Return mean and spread of the scores obtained, or the most frequent reason if there are none."""
    values = [scored.value for scored in scores if scored.value is not None]
    if not values:
        reason, _ = Counter(scored.reason for scored in scores).most_common(1)[0]
        return Scored(None, reason)
    return Scored(statistics.fmean(values), None, statistics.pstdev(values) if len(values) > 1 else None)
