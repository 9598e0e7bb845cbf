"""Questions flow while models, scorer and collector fail in every way: bounds hold, and no point is lost."""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flywheel_core.collect import Fanout, Uploader, courier
from flywheel_core.collect.scoring import code_of
from flywheel_core.errors import SkippedError
from tests.core.collect.outside import CANDIDATES, Outside, Reply, as_json, chat, until

QUESTIONS = 300
BOUND = 24


def outcome(dice: random.Random) -> Reply | None:
    """Draw 30 % 5xx, 20 % 429, 5 % hanging replies and 5 % cut bodies; None stands for an answer."""
    drawn = dice.random()
    if drawn < 0.30:
        return Reply(dice.choice([500, 502, 503]))
    if drawn < 0.50:
        return Reply(429, headers={"retry-after": "0"})
    if drawn < 0.55:
        return Reply(hang=True)
    if drawn < 0.60:
        return Reply(
            raw=b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"cho'
        )
    return None


@pytest.mark.parametrize("seed", [1, 2])
def test_chaos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """The counters always add up; calls stay within bounds and the retry budget; right answers stay right."""
    monkeypatch.setattr(courier, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(courier, "LONGEST_DELAY", 0.05)
    dice = random.Random(seed)
    stored: Counter[str] = Counter()
    collecting = True

    def answer(request: Any) -> Reply:
        question = request.json["messages"][0]["content"]
        return outcome(dice) or chat(f"{request.path} says {question}")

    def score(request: Any) -> Reply:
        return outcome(dice) or as_json({"score": (len(request.json["answer"]) % 10) / 10})

    def collect(request: Any) -> Reply:
        failure = outcome(dice) if collecting else None
        if failure is not None and failure.raw is None:
            return failure
        points = request.json["data_points"]
        stored.update(point["id"] for point in points)  # even where the acknowledgement is cut
        return failure or as_json({"status": "success", "count": len(points), "rejected": []})

    async def main() -> None:
        nonlocal collecting
        async with Outside() as world:
            for model in CANDIDATES:
                world.model(model, answer)
            world.scorer(score)
            world.collector(collect)
            config = world.config(
                max_in_flight=BOUND,
                point_timeout=6.0,
                training={"batch_size": 7, "evaluate_timeout": 1_000},
                model={"timeout": 1.0, "max_concurrency": BOUND - 4},
            )
            fanout, uploader = Fanout(config), Uploader(config, tmp_path)
            await uploader.start()
            watching = asyncio.create_task(watch(fanout, uploader))
            points = {}

            async def ask(number: int) -> None:
                while True:
                    try:
                        point = await fanout.collect(f"q{number}", decision_id=f"d{number}")
                    except SkippedError as skip:
                        assert skip.code in ("busy", "model_busy")
                        await asyncio.sleep(0.01)
                        continue
                    points[point.id] = point
                    await uploader.offer(point)
                    return

            await asyncio.gather(*(ask(number) for number in range(QUESTIONS)))
            collecting = False
            await uploader.close(deadline=0.2)
            again = Uploader(config, tmp_path)
            await again.start()
            await until(lambda: not again.spooled and not again.in_memory)
            await again.close()
            await fanout.close()
            assert not watching.done(), watching.exception()
            watching.cancel()
            assert uploader.dropped == uploader.rejected == again.dropped == again.rejected == 0
            assert uploader.acknowledged + again.acknowledged == QUESTIONS
            assert set(stored) == {f"d{number}" for number in range(QUESTIONS)}
            check_answers(points)
            check_budget(fanout.stats())
            for path in world.most:
                if path.endswith("/chat/completions"):
                    assert world.most[path] <= BOUND
            await until(lambda: not any(world.under_way.values()))

    asyncio.run(main())


async def watch(fanout: Fanout, uploader: Uploader) -> None:
    """Check the counters and the bounds at every turn of the event loop."""
    while True:
        stats = uploader.stats()
        parts = ("acknowledged", "rejected", "spooled", "in_memory", "dropped")
        assert stats["offered"] == sum(stats[name] for name in parts)
        calls = fanout.stats()
        assert calls["in_flight"] <= BOUND
        assert all(count <= BOUND - 4 for count in calls["calls_under_way"].values())
        await asyncio.sleep(0)


def check_answers(points: dict[str, Any]) -> None:
    failures: Counter[str] = Counter()
    for point in points.values():
        assert set(point.responses) == set(CANDIDATES)
        for model, response in point.responses.items():
            failures[code_of(response.error)] += 1
            if not response.failed:
                assert response.answer == f"/{model}/v1/chat/completions says {point.question}"
            score = point.scores[model]
            if score is None:
                assert point.score_reasons[model]
            else:
                assert score == (len(response.answer) % 10) / 10
    assert failures[""] > QUESTIONS // 3  # of three responses per question; four in ten calls are answered
    assert {"http_status", "timeout", "connection_lost"} <= set(failures)


def check_budget(stats: dict[str, Any]) -> None:
    for model in CANDIDATES:
        assert 0 < stats["retries"][model] <= 0.1 * stats["calls"][model] + 2
    assert 0 < stats["retries"]["scorer"] <= 0.1 * stats["scorings"] + 2
