"""The end of an uploader: what it still holds is sent, spooled, or counted as dropped."""

import asyncio
import os
from pathlib import Path

import pytest

from flywheel_core.collect import Uploader, upload
from flywheel_core.errors import UsageError
from tests.core.collect.outside import Outside, Reply, until
from tests.core.collect.uploading import Collector, check, ids, offer, point, run

pytestmark = pytest.mark.usefixtures("short_waits")


def test_close_drains_what_there_is(tmp_path: Path) -> None:
    """Points in memory and on disk are sent before it returns; closing twice is fine."""

    async def act(world: Outside, collector: Collector) -> None:
        uploader = Uploader(world.config(training={"batch_size": 100}), tmp_path)
        await uploader.start()
        await offer(uploader, range(250))
        await asyncio.gather(uploader.close(), uploader.close())
        await uploader.close()
        assert sorted(collector.stored) == sorted(ids(range(250)))
        assert check(uploader)["acknowledged"] == 250

    run(act)


def test_an_uploader_starts_once(tmp_path: Path) -> None:
    """A second start, which the context manager makes easy, neither takes the spool away nor keeps it for good."""

    async def act(world: Outside, collector: Collector) -> None:
        config = world.config()
        async with Uploader(config, tmp_path) as uploader:
            with pytest.raises(UsageError, match="starts once"):
                await uploader.start()
            collector.verdict = lambda _: Reply(503)
            await offer(uploader, range(10))
            await until(lambda: check(uploader)["spooled"] == 10)
        with pytest.raises(UsageError, match="starts once"):
            await uploader.start()
        collector.verdict = lambda _: None
        async with Uploader(config, tmp_path) as again:
            await until(lambda: check(again)["acknowledged"] == 10)

    run(act)


def test_close_spools_what_the_collector_does_not_take_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the collector hangs, everything is on disk at the deadline, even what was being sent.

    Uploads in progress are ended: they alone would take an hour here.
    """
    monkeypatch.setattr("flywheel_core.collect.delivery.UPLOAD_TIMEOUT", 3_600.0)

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
    """Everything is on disk already, so there is nothing to wait for."""

    async def act(world: Outside, collector: Collector) -> None:
        collector.verdict = lambda _: Reply(503)
        uploader = Uploader(world.config(training={"batch_size": 2}), tmp_path)
        await uploader.start()
        await offer(uploader, range(5))
        await asyncio.wait_for(uploader.close(deadline=600), 60)
        assert check(uploader)["spooled"] == 5

    run(act)


def test_points_offered_outside_its_life_are_refused(tmp_path: Path) -> None:
    """Before start and after close, an offer is an error and never a silent loss."""

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


def test_what_no_disk_takes_at_the_end_is_dropped_and_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A point is lost only at close, with both collector and disk gone, and the loss is logged."""

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
        assert [vars(one)["points"] for one in caplog.records if one.message == "points_lost"] == [4]

    run(act)


def test_closing_an_uploader_that_never_started_does_nothing(tmp_path: Path) -> None:
    async def act(world: Outside, collector: Collector) -> None:
        await Uploader(world.config(), tmp_path / "spool").close()
        assert not (tmp_path / "spool").exists()

    run(act)
