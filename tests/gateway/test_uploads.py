"""One uploader replaces another on the same spool: at no moment is anything lost or counted twice."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import flywheel_gateway.uploads
from flywheel_core.collect.upload import Uploader
from flywheel_core.config import Config
from flywheel_core.config_fields import Section
from flywheel_core.records import DataPoint, Response
from flywheel_gateway.uploads import Uploads, _settings

COUNTERS = ("offered", "acknowledged", "rejected", "dropped", "uploads")


def settings(flush_interval: float) -> Config:
    """Return a configuration that uploads to an address where nothing listens."""
    training = {"flush_interval": flush_interval}
    return Config.model_validate(
        {"data_collection": {"storage_endpoint": "http://127.0.0.1:1/collect", "training": training}}
    )


def point(number: int) -> DataPoint:
    return DataPoint(f"p{number}", "q", {"m": Response("m", "a", 1)}, {"m": 0.5}, 1_700_000_000)


def with_spooled(spool: Path, act: Callable[[Uploads], Awaitable[None]]) -> Mapping[str, Any]:
    """Run `act` once three points are in the spool because uploads failed; return the counters after the end."""

    async def main() -> Mapping[str, Any]:
        uploads = Uploads(settings(0.01), spool)
        await uploads.start()
        for number in range(3):
            await uploads.offer(point(number))
        await spooled(uploads)
        await act(uploads)
        await uploads.close(1.0)
        return uploads.stats()

    return asyncio.run(asyncio.wait_for(main(), 30))


async def spooled(uploads: Uploads) -> None:
    """Wait until the three points are on disk."""
    while uploads.stats()["spooled"] < 3:  # noqa: ASYNC110 - no event tells that the counters changed
        await asyncio.sleep(0.01)


async def not_opened(caplog: pytest.LogCaptureFixture) -> None:
    """Wait until the log says that the spool cannot be opened."""
    while "spool_not_opened" not in caplog.messages:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.01)


async def exchange(uploads: Uploads) -> None:
    config = settings(0.02)
    successor = uploads.prepare(config)
    assert successor is not None
    await uploads.exchange(successor, config)


def check(stats: Mapping[str, Any]) -> None:
    parts = ("acknowledged", "rejected", "spooled", "in_memory", "dropped")
    assert stats["offered"] == sum(stats[name] for name in parts)


def test_no_counter_goes_back_or_counts_twice_during_an_exchange(tmp_path: Path) -> None:
    """The counters are checked in every iteration of the event loop."""

    async def watched(uploads: Uploads) -> None:
        task = asyncio.create_task(exchange(uploads))
        before = uploads.stats()
        while not task.done():
            await asyncio.sleep(0)
            now = uploads.stats()
            check(now)
            assert now["offered"] == 3
            assert all(now[name] >= before[name] for name in COUNTERS)
            failed = now["failed_uploads"]
            assert all(failed[code] >= count for code, count in before["failed_uploads"].items())
            before = now
        await task

    check(with_spooled(tmp_path, watched))


def test_after_an_exchange_the_new_settings_are_those_in_force(tmp_path: Path) -> None:
    """Otherwise going back to the settings before would change nothing."""

    async def act(uploads: Uploads) -> None:
        assert uploads.prepare(settings(0.01)) is None
        await exchange(uploads)
        assert uploads.prepare(settings(0.02)) is None
        back = uploads.prepare(settings(0.01))
        assert back is not None
        await uploads.exchange(back, settings(0.01))
        assert uploads.prepare(settings(0.01)) is None

    check(with_spooled(tmp_path, act))


def test_an_exchange_that_is_cancelled_loses_nothing(tmp_path: Path) -> None:
    """As when a gateway is stopped while it switches to a new collector address; one more point is offered later."""

    async def cancelled(uploads: Uploads) -> None:
        task = asyncio.create_task(exchange(uploads))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await uploads.offer(point(3))

    stats = with_spooled(tmp_path, cancelled)
    check(stats)
    assert (stats["offered"], stats["spooled"]) == (4, 4)


def test_an_exchange_waits_for_a_spool_that_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Points wait too: without an uploader, all would be lost until somebody restarts the gateway."""
    monkeypatch.setattr(flywheel_gateway.uploads, "RETRY_SECONDS", 0.01)
    cursor = tmp_path / "cursor.json"

    async def refused(uploads: Uploads) -> None:
        cursor.write_text("{")
        changing = asyncio.create_task(exchange(uploads))
        await not_opened(caplog)
        offering = asyncio.create_task(uploads.offer(point(3)))
        await asyncio.sleep(0.05)
        assert not changing.done() and not offering.done()
        check(uploads.stats())
        cursor.unlink()
        await asyncio.gather(changing, offering)

    stats = with_spooled(tmp_path, refused)
    check(stats)
    assert (stats["offered"], stats["spooled"]) == (4, 4)
    assert caplog.messages.count("spool_not_opened") == 1
    assert "spool_opened" in caplog.messages


def test_the_end_of_the_gateway_ends_an_exchange_that_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def refused(uploads: Uploads) -> None:
        (tmp_path / "cursor.json").write_text("{")
        changing = asyncio.create_task(exchange(uploads))
        await not_opened(caplog)
        await uploads.close(1.0)
        await changing

    check(with_spooled(tmp_path, refused))


def test_an_exchange_after_close_does_not_take_the_spool(tmp_path: Path) -> None:
    async def closed(uploads: Uploads) -> None:
        await uploads.close(1.0)
        await exchange(uploads)
        following = Uploads(settings(0.01), tmp_path)
        await following.start()
        await following.close(1.0)

    assert with_spooled(tmp_path, closed)["spooled"] == 3


def test_every_setting_that_an_uploader_reads_makes_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is not compared would keep its old value until a restart, and nobody would be told."""

    def read_by(use: Callable[[Config], object]) -> set[tuple[str, str]]:
        names: set[tuple[str, str]] = set()

        def reading(section: Section, name: str) -> Any:
            value = object.__getattribute__(section, name)
            if name in type(section).model_fields and not isinstance(value, Section):
                names.add((type(section).__name__, name))
            return value

        with monkeypatch.context() as patched:
            patched.setattr(Section, "__getattribute__", reading)
            use(Config())
        return names

    whole = [one for one in _settings(Config()) if isinstance(one, Section)]
    compared = {(type(one).__name__, name) for one in whole for name in type(one).model_fields}
    used = read_by(lambda config: Uploader(config, tmp_path))
    assert len(used) > 4
    assert used - compared - read_by(_settings) == set()
