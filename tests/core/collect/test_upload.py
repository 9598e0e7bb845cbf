"""Uploads to a collector that accepts, is slow or is down: nothing is lost, and counters show where it is."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from flywheel_core.collect import Uploader, courier, upload
from flywheel_core.collect.delivery import LARGE_POINT, encode_line
from flywheel_core.errors import ConfigIncompleteError, StorageError
from flywheel_core.records import encode_point
from flywheel_core.wire import decode_point
from tests.core.collect.outside import Outside, Reply, until
from tests.core.collect.uploading import Collector, check, ids, offer, point, run

pytestmark = pytest.mark.usefixtures("short_waits")


def test_a_full_batch_goes_at_once(tmp_path: Path) -> None:
    """batch_size points make one upload; the rest waits for the interval."""

    async def act(world: Outside, collector: Collector) -> None:
        async with Uploader(world.config(training={"batch_size": 3}), tmp_path) as uploader:
            await offer(uploader, range(8))
            await until(lambda: uploader.acknowledged == 6)
            assert check(uploader)["in_memory"] == 2
        assert collector.batches == [3, 3, 2]
        assert sorted(collector.stored) == ids(range(8))

    run(act)


def test_large_points_do_not_wait_for_the_batch_to_have_enough_of_them(tmp_path: Path) -> None:
    """A batch goes once it has BATCH_BYTES: a thousand large points would be more than the collector takes."""

    async def act(world: Outside, collector: Collector) -> None:
        config = world.config(training={"batch_size": 1_000, "flush_interval": 3_600})
        async with Uploader(config, tmp_path) as uploader:
            await offer(uploader, range(5), "x" * (courier.BATCH_BYTES // 4))
            await until(lambda: uploader.acknowledged == 4)
            assert check(uploader)["in_memory"] == 1
        assert collector.batches == [4, 1]

    run(act)


def test_an_old_batch_goes_at_the_interval(tmp_path: Path) -> None:
    """A batch that does not fill up is sent after flush_interval."""

    async def act(world: Outside, collector: Collector) -> None:
        config = world.config(training={"batch_size": 100, "flush_interval": 0.1})
        async with Uploader(config, tmp_path) as uploader:
            await offer(uploader, range(2))
            await until(lambda: uploader.acknowledged == 2)
            assert collector.batches == [2]

    run(act)


def test_while_the_collector_is_away_points_are_on_disk(tmp_path: Path) -> None:
    """While connections are refused, points are spooled; once the collector is back they arrive in order."""

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


def test_a_full_spool_drops_counts_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The limit on disk holds; what is lost is counted and logged, and what was kept arrives."""

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
        full = [vars(record) for record in caplog.records if record.message == "spool_full"]
        assert sum(record["dropped"] for record in full) == full[-1]["dropped_in_all"] == stats["dropped"]

    run(act)


def test_a_slow_collector_is_relieved_by_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While all uploads hang, waiting points go to disk before memory is full, and nobody waits for an upload."""
    monkeypatch.setattr("flywheel_core.collect.delivery.UPLOAD_TIMEOUT", 3_600.0)
    monkeypatch.setattr(upload, "SPILL_BYTES", 1_000)
    monkeypatch.setattr(upload, "MAX_MEMORY_BYTES", 4_000)

    async def act(world: Outside, collector: Collector) -> None:
        hanging = True
        collector.verdict = lambda _: Reply(hang=True) if hanging else None
        uploader = Uploader(world.config(training={"batch_size": 2}), tmp_path)
        await uploader.start()
        await asyncio.wait_for(offer(uploader, range(200)), 30)
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
    """With neither collector nor disk, points wait in memory until the collector is back; none is dropped."""

    async def act(world: Outside, collector: Collector) -> None:
        away = True
        collector.verdict = lambda _: Reply(503) if away else None

        tries = 0

        def refuse(_: int) -> None:
            nonlocal tries
            tries += 1
            raise OSError(28, "No space left on device")

        async with Uploader(world.config(training={"batch_size": 2}), tmp_path) as uploader:
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", refuse)
                await offer(uploader, range(6))
                await until(lambda: "spool_not_written" in caplog.messages)
                assert check(uploader)["in_memory"] == 6
                await until(lambda: tries > 4)
                away = False
                await until(lambda: check(uploader)["acknowledged"] == 6)
        assert sorted(collector.stored) == ids(range(6))
        assert caplog.messages.count("spool_not_written") == 1  # not once per attempt

    run(act)


def test_points_in_memory_are_bounded_however_often_collector_and_disk_are_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is being sent or stored is in memory too: each try would otherwise let further points in."""
    monkeypatch.setattr(upload, "MAX_MEMORY_BYTES", 4_000)

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    async def act(world: Outside, collector: Collector) -> None:
        away = True
        collector.verdict = lambda _: Reply(503) if away else None
        async with Uploader(world.config(training={"batch_size": 2}), tmp_path) as uploader:
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", refuse)
                offering = asyncio.create_task(offer(uploader, range(200)))
                await until(lambda: len(world.requests) > 20)
                assert check(uploader)["in_memory"] == 4_000 // len(encode_line(point(1))) + 1
            away = False
            await offering
            await until(lambda: check(uploader)["acknowledged"] == 200)
        assert sorted(collector.stored) == sorted(ids(range(200)))

    run(act)


def test_the_key_and_the_mark_are_sent(tmp_path: Path) -> None:
    """The key is sent as the collector expects it; when its variable is not set, the error names it."""

    async def act(world: Outside, collector: Collector) -> None:
        config = world.config(api_key_env="COLLECTOR_KEY", training={"batch_size": 1})
        async with Uploader(config, tmp_path, environment={"COLLECTOR_KEY": "gw.secret"}) as uploader:
            await uploader.offer(point(1))
        assert world.requests[0].headers["authorization"] == "Bearer gw.secret"
        assert world.requests[0].headers["x-flywheel-collect"] == "1"
        with pytest.raises(ConfigIncompleteError, match="COLLECTOR_KEY"):
            Uploader(config, tmp_path, environment={})

    run(act)


@pytest.mark.parametrize("more", [0, 1])
def test_a_point_that_is_too_large_is_sent_without_raw_responses(more: int) -> None:
    """Question, answer, usage and scores are what the loop needs; the limit itself is still sent whole."""
    whole = point(1)
    response = whole.responses["m"]
    response.usage, response.raw_response = msgspec.Raw(b'{"n":1}'), msgspec.Raw(b'{"a":"@"}')
    size = LARGE_POINT - len(encode_point(whole)) + 1 + more
    response.raw_response = msgspec.Raw(b'{"a":"%b"}' % (b"x" * size))
    assert len(encode_point(whole)) == LARGE_POINT + more
    line = encode_line(whole)
    assert (line == encode_point(whole)) == (not more)
    sent = decode_point(line)
    assert (sent.responses["m"].answer, bytes(sent.responses["m"].usage)) == ("a", b'{"n":1}')
    assert (sent.id, sent.question, sent.scores) == (whole.id, whole.question, whole.scores)
    assert (bytes(sent.responses["m"].raw_response) == b"null") == bool(more)


def test_two_uploaders_cannot_share_a_spool(tmp_path: Path) -> None:
    """The second one is refused when it starts."""

    async def act(world: Outside, collector: Collector) -> None:
        async with Uploader(world.config(), tmp_path):
            with pytest.raises(StorageError, match="another running process"):
                await Uploader(world.config(), tmp_path).start()

    run(act)
