"""Uploads to a collector that takes, refuses, is slow or away: nothing is lost, and the counters say where it is."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel_core.collect import Uploader, courier, delivery, upload
from flywheel_core.collect.delivery import judge
from flywheel_core.collect.http import Reply as HttpReply
from flywheel_core.errors import ConfigIncompleteError, StorageError, UsageError
from flywheel_core.records import DataPoint, Response
from tests.core.collect.outside import Outside, Reply, as_json, until


def point(number: int, answer: str = "a") -> DataPoint:
    return DataPoint(f"p{number}", "q", {"m": Response("m", answer, 1)}, {"m": 0.5}, 1_700_000_000)


class Collector:
    """A collector by the contract: takes points unless `verdict` says otherwise for the batch."""

    def __init__(self, world: Outside) -> None:
        self.stored: list[str] = []
        self.batches: list[int] = []
        self.verdict: Callable[[list[Any]], Reply | None] = lambda _: None
        world.collector(self._take)

    def _take(self, request: Any) -> Reply:
        points = request.json["data_points"]
        assert request.json["count"] == len(points)
        refused = self.verdict(points)
        if refused is not None:
            return refused
        self.batches.append(len(points))
        self.stored += [one["id"] for one in points]
        return success(len(points))


def success(count: int, rejected: list[dict[str, Any]] | None = None) -> Reply:
    return as_json({"status": "success", "count": count, "message": "ok", "rejected": rejected or []})


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits after failures are short here, so that the tests are."""
    monkeypatch.setattr(courier, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(courier, "LONGEST_DELAY", 0.05)


def run(act: Callable[[Outside, Collector], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Outside() as world:
            await act(world, Collector(world))

    asyncio.run(main())


def check(uploader: Uploader) -> dict[str, Any]:
    stats = uploader.stats()
    assert stats["offered"] == sum(
        stats[name] for name in ("acknowledged", "rejected", "spooled", "in_memory", "dropped")
    )
    return stats


async def offer(uploader: Uploader, numbers: range, answer: str = "a") -> None:
    for number in numbers:
        await uploader.offer(point(number, answer))
        check(uploader)


def ids(numbers: range) -> list[str]:
    return [f"p{number}" for number in numbers]


def test_a_full_batch_goes_at_once(tmp_path: Path) -> None:
    """batch_size points are one upload; the rest waits for the interval."""

    async def act(world: Outside, collector: Collector) -> None:
        async with Uploader(world.config(training={"batch_size": 3}), tmp_path) as uploader:
            await offer(uploader, range(8))
            await until(lambda: uploader.acknowledged == 6)
            assert check(uploader)["in_memory"] == 2
        assert collector.batches == [3, 3, 2]
        assert sorted(collector.stored) == ids(range(8))

    run(act)


def test_an_old_batch_goes_at_the_interval(tmp_path: Path) -> None:
    """A batch that does not fill goes after flush_interval."""

    async def act(world: Outside, collector: Collector) -> None:
        config = world.config(training={"batch_size": 100, "flush_interval": 0.1})
        async with Uploader(config, tmp_path) as uploader:
            await offer(uploader, range(2))
            await until(lambda: uploader.acknowledged == 2)
            assert collector.batches == [2]

    run(act)


def test_while_the_collector_is_away_points_are_on_disk(tmp_path: Path) -> None:
    """Refused connections: everything is spooled; once it is back, everything arrives, in order."""

    async def act(world: Outside, collector: Collector) -> None:
        config = world.config(training={"batch_size": 2})
        port = world.port
        await world.__aexit__()
        async with Uploader(config, tmp_path) as uploader:
            await offer(uploader, range(10))
            await until(lambda: uploader.spooled == 10)
            assert check(uploader)["collector_away"]
            world.port = port
            await world.__aenter__()
            await until(lambda: check(uploader)["acknowledged"] == 10)
            assert not check(uploader)["collector_away"]
        assert collector.stored == ids(range(10))

    run(act)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 415, 429, 500, 503, 307])
def test_a_collector_that_refuses_for_now_is_asked_again(tmp_path: Path, status: int) -> None:
    """Nothing that may be mended on its side costs a point."""

    async def act(world: Outside, collector: Collector) -> None:
        left = 3

        def refuse(_: list[Any]) -> Reply | None:
            nonlocal left
            left -= 1
            return Reply(status) if left >= 0 else None

        collector.verdict = refuse
        async with Uploader(world.config(training={"batch_size": 2}), tmp_path) as uploader:
            await offer(uploader, range(4))
            await until(lambda: uploader.acknowledged == 4)
            assert check(uploader)["failed_uploads"] == {f"status {status}": 3}
        assert sorted(collector.stored) == ids(range(4))

    run(act)


def test_retry_after_is_kept_to(tmp_path: Path) -> None:
    """The collector says when to come back."""

    async def act(world: Outside, collector: Collector) -> None:
        times: list[float] = []

        def refuse(_: list[Any]) -> Reply | None:
            times.append(asyncio.get_running_loop().time())
            return Reply(503, headers={"retry-after": "1"}) if len(times) == 1 else None

        collector.verdict = refuse
        async with Uploader(world.config(training={"batch_size": 1}), tmp_path) as uploader:
            await offer(uploader, range(1))
            await until(lambda: uploader.acknowledged == 1)
        assert times[1] - times[0] >= 1.0

    run(act)


@pytest.mark.parametrize(
    "answer",
    [
        Reply(body=b"<html>please log in</html>", headers={"content-type": "text/html"}),
        as_json({"status": "error", "count": 2}),
        as_json({"status": "success", "count": 1}),
        success(1, [{"index": 7, "code": "x", "message": ""}]),
        success(0, [{"index": 0, "code": "x"}, {"index": 0, "code": "x"}]),
        as_json([]),
    ],
)
def test_a_200_that_does_not_add_up_is_no_acknowledgement(tmp_path: Path, answer: Reply) -> None:
    """A proxy's page, or fewer points than were sent: sent again."""

    async def act(world: Outside, collector: Collector) -> None:
        answers = iter([answer])
        collector.verdict = lambda _: next(answers, None)
        async with Uploader(world.config(training={"batch_size": 2}), tmp_path) as uploader:
            await offer(uploader, range(2))
            await until(lambda: uploader.acknowledged == 2)
        assert collector.stored == ids(range(2))

    run(act)


def test_rejected_points_are_set_aside_with_the_answer(tmp_path: Path) -> None:
    """What the collector names is kept in a file, never sent again; the others are acknowledged."""

    async def act(world: Outside, collector: Collector) -> None:
        collector.verdict = lambda points: success(
            len(points) - 1, [{"index": 1, "code": "score_invalid", "message": "no"}]
        )
        async with Uploader(world.config(training={"batch_size": 3}), tmp_path) as uploader:
            await offer(uploader, range(3))
            await until(lambda: not uploader.in_memory)
            assert (uploader.acknowledged, uploader.rejected) == (2, 1)
            check(uploader)
        kept = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_bytes().splitlines()]
        assert [(one["status"], one["code"], one["message"]) for one in kept] == [
            (200, "score_invalid", "no")
        ]
        assert kept[0]["point"]["id"] == "p1"
        assert len(world.requests) == 1

    run(act)


def test_the_file_of_rejected_points_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its bound it is put aside, once; the last ones are always kept."""
    monkeypatch.setattr(delivery, "MAX_REJECTED_BYTES", 2_000)

    async def act(world: Outside, collector: Collector) -> None:
        collector.verdict = lambda _: Reply(422)
        async with Uploader(world.config(training={"batch_size": 1}), tmp_path) as uploader:
            for number in range(40):
                await uploader.offer(point(number))
                await until(lambda: not uploader.in_memory)

    run(act)
    assert sorted(path.name for path in tmp_path.glob("rejected*")) == [
        "rejected.jsonl",
        "rejected.jsonl.old",
    ]
    assert all(path.stat().st_size < 3_000 for path in tmp_path.glob("rejected*"))
    assert b'"p39"' in (tmp_path / "rejected.jsonl").read_bytes()


@pytest.mark.parametrize("status", [400, 413])
def test_a_refused_batch_is_halved_down_to_the_point_at_fault(tmp_path: Path, status: int) -> None:
    """One bad point of eight: seven are stored, one is set aside."""

    async def act(world: Outside, collector: Collector) -> None:
        error = {"status": "error", "code": "body_too_large", "message": "too large"}
        collector.verdict = lambda points: (
            as_json(error, status) if any(one["id"] == "p5" for one in points) else None
        )
        async with Uploader(world.config(training={"batch_size": 8}), tmp_path) as uploader:
            await offer(uploader, range(8))
            await until(lambda: not uploader.in_memory)
            assert (uploader.acknowledged, uploader.rejected, uploader.spooled) == (7, 1, 0)
            check(uploader)
        assert sorted(collector.stored) == [name for name in ids(range(8)) if name != "p5"]
        kept = json.loads((tmp_path / "rejected.jsonl").read_bytes())
        assert (kept["status"], kept["code"], kept["point"]["id"]) == (status, "body_too_large", "p5")

    run(act)


def test_a_413_from_the_spool_is_halved_too(tmp_path: Path) -> None:
    """What waited on disk may be more than the collector takes at once."""

    async def act(world: Outside, collector: Collector) -> None:
        away = True
        collector.verdict = lambda points: Reply(503) if away else Reply(413) if len(points) > 3 else None
        async with Uploader(world.config(training={"batch_size": 2}), tmp_path) as uploader:
            await offer(uploader, range(20))
            await until(lambda: uploader.spooled == 20)
            away = False
            await until(lambda: check(uploader)["acknowledged"] == 20)
        assert collector.stored == ids(range(20))
        assert max(collector.batches) <= 3

    run(act)


def test_422_rejects_every_point_of_the_batch(tmp_path: Path) -> None:
    """Nothing acceptable in it: all set aside, none sent again."""

    async def act(world: Outside, collector: Collector) -> None:
        error = {"status": "error", "code": "nothing_acceptable", "message": "none"}
        collector.verdict = lambda _: as_json(error, 422)
        async with Uploader(world.config(training={"batch_size": 3}), tmp_path) as uploader:
            await offer(uploader, range(3))
            await until(lambda: uploader.rejected == 3)
        assert len(world.requests) == 1
        assert len((tmp_path / "rejected.jsonl").read_bytes().splitlines()) == 3

    run(act)


def test_judging_names_the_reasons_of_a_422() -> None:
    """Where the collector names each point's reason, each has its own."""
    body = {"code": "nothing_acceptable", "message": "", "rejected": [{"index": 1, "code": "id_invalid"}]}
    verdict = judge(HttpReply(422, {}, json.dumps(body).encode()), 2)
    assert [one.code for one in verdict.rejected] == ["nothing_acceptable", "id_invalid"]


def test_close_drains_what_there_is(tmp_path: Path) -> None:
    """Points in memory and on disk are sent before it returns; twice is fine."""

    async def act(world: Outside, collector: Collector) -> None:
        uploader = Uploader(world.config(training={"batch_size": 100}), tmp_path)
        await uploader.start()
        await offer(uploader, range(250))
        await asyncio.gather(uploader.close(), uploader.close())
        await uploader.close()
        assert sorted(collector.stored) == sorted(ids(range(250)))
        assert check(uploader)["acknowledged"] == 250

    run(act)


def test_close_spools_what_the_collector_does_not_take_in_time(tmp_path: Path) -> None:
    """A collector that hangs: at the deadline everything is on disk, also what was under way."""

    async def act(world: Outside, collector: Collector) -> None:
        collector.verdict = lambda _: Reply(hang=True)
        config = world.config(training={"batch_size": 2})
        uploader = Uploader(config, tmp_path)
        await uploader.start()
        await offer(uploader, range(20))
        await until(lambda: len(world.requests) == upload.MAX_UPLOADS)
        await asyncio.wait_for(uploader.close(deadline=0.1), 60)
        stats = check(uploader)
        assert (stats["spooled"], stats["in_memory"], stats["dropped"]) == (20, 0, 0)
        await until(lambda: world.gone == upload.MAX_UPLOADS)
        collector.verdict = lambda _: None
        async with Uploader(config, tmp_path) as again:
            assert check(again)["offered"] == 20
            await until(lambda: check(again)["acknowledged"] == 20)
        assert sorted(collector.stored) == sorted(ids(range(20)))

    run(act)


def test_close_does_not_wait_for_a_collector_that_is_away(tmp_path: Path) -> None:
    """Everything is on disk already: there is nothing to wait for."""

    async def act(world: Outside, collector: Collector) -> None:
        collector.verdict = lambda _: Reply(503)
        uploader = Uploader(world.config(training={"batch_size": 2}), tmp_path)
        await uploader.start()
        await offer(uploader, range(5))
        await asyncio.wait_for(uploader.close(deadline=600), 60)
        assert check(uploader)["spooled"] == 5

    run(act)


def test_points_offered_outside_its_life_are_refused(tmp_path: Path) -> None:
    """Before start and after close: an error, never a silent loss."""

    async def act(world: Outside, collector: Collector) -> None:
        uploader = Uploader(world.config(), tmp_path)
        with pytest.raises(UsageError) as caught:
            await uploader.offer(point(1))
        assert caught.value.code == "uploader_closed"
        await uploader.start()
        await uploader.close()
        with pytest.raises(UsageError):
            await uploader.offer(point(1))
        assert check(uploader)["offered"] == 0

    run(act)


def test_a_full_spool_drops_counts_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The bound on disk holds; what is lost is counted and logged; what was kept arrives."""

    async def act(world: Outside, collector: Collector) -> None:
        away = True
        collector.verdict = lambda _: Reply(503) if away else None
        config = world.config(training={"batch_size": 2}, spool_max_bytes=1_048_576)
        async with Uploader(config, tmp_path) as uploader:
            await offer(uploader, range(30), "x" * 100_000)
            await until(lambda: not uploader.in_memory)
            stats = check(uploader)
            assert stats["dropped"] > 0
            assert stats["spooled"] >= 8
            assert stats["spool_bytes"] <= 1_048_576
            away = False
            await until(lambda: not uploader.spooled)
            assert check(uploader)["acknowledged"] == len(collector.stored) == stats["spooled"]
        assert "the spool is full" in caplog.text

    run(act)


def test_a_slow_collector_is_relieved_by_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All uploads under way hang: what waits goes to disk before memory is full, and nobody waits long."""
    monkeypatch.setattr(upload, "SPILL_BYTES", 1_000)
    monkeypatch.setattr(upload, "MAX_MEMORY_BYTES", 4_000)

    async def act(world: Outside, collector: Collector) -> None:
        hanging = True
        collector.verdict = lambda _: Reply(hang=True) if hanging else None
        uploader = Uploader(world.config(training={"batch_size": 2}), tmp_path)
        await uploader.start()
        await offer(uploader, range(200))
        await until(lambda: uploader.spooled > 100)
        check(uploader)
        hanging = False
        await uploader.close(deadline=0.1)
        assert check(uploader)["in_memory"] == 0
        async with Uploader(world.config(), tmp_path) as again:
            await until(lambda: not again.spooled)
        assert set(collector.stored) == set(ids(range(200)))

    run(act)


def test_a_disk_that_refuses_keeps_points_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No collector and no disk: points wait, and arrive when the collector is back; nothing is dropped."""

    async def act(world: Outside, collector: Collector) -> None:
        away = True
        collector.verdict = lambda _: Reply(503) if away else None

        def refuse(_: int) -> None:
            raise OSError(28, "No space left on device")

        async with Uploader(world.config(training={"batch_size": 2}), tmp_path) as uploader:
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", refuse)
                await offer(uploader, range(6))
                await until(lambda: "stay in memory" in caplog.text)
                assert check(uploader)["in_memory"] == 6
                away = False
                await until(lambda: check(uploader)["acknowledged"] == 6)
        assert sorted(collector.stored) == ids(range(6))

    run(act)


def test_what_no_disk_takes_at_the_end_is_dropped_and_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Only at close, with collector and disk both gone, is a point lost, and it is said."""

    async def act(world: Outside, collector: Collector) -> None:
        collector.verdict = lambda _: Reply(503)

        def refuse(_: int) -> None:
            raise OSError(28, "No space left on device")

        uploader = Uploader(world.config(training={"batch_size": 2}), tmp_path)
        await uploader.start()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse)
            await offer(uploader, range(4))
            await uploader.close(deadline=0.5)
        stats = check(uploader)
        assert (stats["dropped"], stats["in_memory"]) == (4, 0)
        assert "4 data points could not be spooled and are lost" in caplog.text

    run(act)


def test_the_key_and_the_mark_are_sent(tmp_path: Path) -> None:
    """Authorization as the collector wants it; without the variable the setting is named."""

    async def act(world: Outside, collector: Collector) -> None:
        config = world.config(api_key_env="COLLECTOR_KEY", training={"batch_size": 1})
        async with Uploader(config, tmp_path, environment={"COLLECTOR_KEY": "gw.secret"}) as uploader:
            await uploader.offer(point(1))
        assert world.requests[0].headers["authorization"] == "Bearer gw.secret"
        assert world.requests[0].headers["x-flywheel-collect"] == "1"
        with pytest.raises(ConfigIncompleteError, match="COLLECTOR_KEY"):
            Uploader(config, tmp_path, environment={})

    run(act)


def test_two_uploaders_cannot_share_a_spool(tmp_path: Path) -> None:
    """The second is refused at start."""

    async def act(world: Outside, collector: Collector) -> None:
        async with Uploader(world.config(), tmp_path):
            with pytest.raises(StorageError, match="another running process"):
                await Uploader(world.config(), tmp_path).start()

    run(act)
