"""What an uploader does when a collector refuses for the moment: it waits, and sends the points again."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from flywheel_core.collect import Uploader, courier
from flywheel_core.collect.courier import LONGEST_ASKED, Courier
from flywheel_core.collect.delivery import collector_endpoint
from flywheel_core.collect.pool import PooledHttp
from tests.core.collect.outside import Outside, Reply, as_json, until
from tests.core.collect.uploading import Collector, check, ids, offer, run, success

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.mark.parametrize("status", [401, 403, 404, 405, 415, 429, 500, 503, 307])
def test_a_collector_that_refuses_for_now_is_asked_again(tmp_path: Path, status: int) -> None:
    """A failure that may be repaired on the collector's side costs no point."""

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


def test_another_reason_is_logged_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A collector that was down may come back and refuse the key: the log must not keep to the first reason."""

    async def act(world: Outside, collector: Collector) -> None:
        refusals = [503, 503, 401]
        words = {"code": "key_revoked", "message": "the key is revoked"}
        collector.verdict = lambda _: as_json(words, refusals.pop(0)) if refusals else None
        async with Uploader(world.config(training={"batch_size": 2}), tmp_path) as uploader:
            await offer(uploader, range(2))
            await until(lambda: uploader.acknowledged == 2)

    run(act)
    assert caplog.messages == ["collector_away", "collector_away", "collector_back"]
    reasons = [vars(record)["reason"] for record in caplog.records[:2]]
    assert "status 503" in reasons[0]
    assert reasons[1] == "status 401: the key is revoked"


def test_over_a_slow_line_fewer_points_are_sent_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What gathers while a collector is away makes batches for which the time is never enough over some lines."""
    monkeypatch.setattr("flywheel_core.collect.delivery.UPLOAD_TIMEOUT", 0.5)

    async def act(world: Outside, collector: Collector) -> None:
        away = True

        def slow(points: list[Any]) -> Reply | None:
            if away:
                return Reply(503)
            return Reply(hang=True) if len(points) > 3 else None

        collector.verdict = slow
        async with Uploader(world.config(training={"batch_size": 2}), tmp_path) as uploader:
            await offer(uploader, range(20))
            await until(lambda: uploader.spooled == 20)
            away = False
            await until(lambda: uploader.acknowledged == 20)
            assert set(check(uploader)["failed_uploads"]) == {"status 503", "ReadTimeout"}
        assert list(dict.fromkeys(collector.stored)) == ids(range(20))

    run(act)


def test_retry_after_is_kept_to(tmp_path: Path) -> None:
    """The collector says when to try again."""

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


@pytest.mark.parametrize("asked", ["999999999", "Wed, 21 Oct 2099 07:28:00 GMT"], ids=["seconds", "date"])
def test_a_retry_after_of_years_does_not_end_uploading(tmp_path: Path, asked: str) -> None:
    """One faulty reply of a proxy must not let the spool fill until somebody restarts the gateway."""

    async def act(world: Outside, collector: Collector) -> None:
        collector.verdict = lambda _: Reply(503, headers={"retry-after": asked})
        config = world.config(training={"batch_size": 1})
        http = PooledHttp()
        way = Courier(http, collector_endpoint(config), tmp_path / "rejected.jsonl", lambda: None)

        async def settle(_count: int, _rejected: int) -> None:
            raise AssertionError("nothing was taken")

        assert not await way.deliver([b"{}"], settle)
        await http.close()
        assert 0 < way.wait <= LONGEST_ASKED + courier.LONGEST_DELAY

    run(act)


def test_after_a_success_the_waits_begin_at_the_shortest_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "LONGEST_DELAY", 1_000.0)

    async def act(world: Outside, collector: Collector) -> None:
        http = PooledHttp()
        way = Courier(http, collector_endpoint(world.config()), tmp_path / "rejected.jsonl", lambda: None)

        async def settle(_count: int, _rejected: int) -> None:
            return

        for _ in range(20):
            collector.verdict = lambda _: Reply(503)
            for _ in range(12):
                assert not await way.deliver([b'{"id": "p"}'], settle)
            collector.verdict = lambda _: None
            assert await way.deliver([b'{"id": "p"}'], settle)
            collector.verdict = lambda _: Reply(503)
            assert not await way.deliver([b'{"id": "p"}'], settle)
            assert way.wait <= courier.FIRST_DELAY
            collector.verdict = lambda _: None
            assert await way.deliver([b'{"id": "p"}'], settle)
        await http.close()

    run(act)


def test_failed_uploads_are_counted_by_status_whatever_the_collector_says(tmp_path: Path) -> None:
    """The reasons label a metric: their number is bounded, and they hold none of the collector's words."""

    async def act(world: Outside, collector: Collector) -> None:
        answers = [
            *(as_json({"message": f"busy with {number}"}, 503) for number in range(3)),
            Reply(body=b"<html>please log in</html>", headers={"content-type": "text/html"}),
            success(1),
        ]
        collector.verdict = lambda _: answers.pop(0) if answers else None
        async with Uploader(world.config(training={"batch_size": 2}), tmp_path) as uploader:
            await offer(uploader, range(2))
            await until(lambda: uploader.acknowledged == 2)
            assert check(uploader)["failed_uploads"] == {"status 503": 3, "status 200": 2}

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
    """It may be a proxy's page, or name fewer points than were sent: the batch is sent again."""

    async def act(world: Outside, collector: Collector) -> None:
        answers = iter([answer])
        collector.verdict = lambda _: next(answers, None)
        async with Uploader(world.config(training={"batch_size": 2}), tmp_path) as uploader:
            await offer(uploader, range(2))
            await until(lambda: uploader.acknowledged == 2)
        assert collector.stored == ids(range(2))

    run(act)
