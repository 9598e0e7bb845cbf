"""What an uploader does when its own disk refuses: points are kept, sent again, and uploading goes on."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel_core.collect import Uploader
from flywheel_core.collect.spool import Spool
from flywheel_core.errors import StorageError
from tests.core.collect.outside import Outside, Reply, as_json, until
from tests.core.collect.uploading import Collector, check, ids, offer, run

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.mark.parametrize("in_place", ["nothing", "a link to itself"])
def test_a_spool_that_cannot_be_read_is_sent_once_it_can_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, in_place: str
) -> None:
    """The folder is away for a while, or the system cannot say what is there: said once, and no point is lost."""
    folder, away = tmp_path / "spool", tmp_path / "away"

    async def act(world: Outside, collector: Collector) -> None:
        collector.verdict = lambda _: Reply(503)
        async with Uploader(world.config(training={"batch_size": 2}), folder) as uploader:
            await offer(uploader, range(6))
            await until(lambda: uploader.spooled == 6)
            folder.rename(away)
            if in_place == "a link to itself":
                folder.symlink_to(folder)
            await until(lambda: "spool_unreadable" in caplog.messages)
            await asyncio.sleep(0.1)  # time to look once more
            assert check(uploader)["spooled"] == 6
            collector.verdict = lambda _: None
            folder.unlink(missing_ok=True)
            away.rename(folder)
            await until(lambda: check(uploader)["acknowledged"] == 6)
        assert collector.stored == ids(range(6))

    run(act)
    assert caplog.messages.count("spool_unreadable") == caplog.messages.count("spool_readable_again") == 1


def remove_segments(folder: Path) -> None:
    for path in folder.glob("segment-*"):
        path.unlink()


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("remove", [shutil.rmtree, remove_segments])
def test_points_whose_files_were_removed_are_dropped_and_uploading_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, remove: Callable[[Path], None], at_once: bool
) -> None:
    """Somebody makes room on a full disk: what lay there is counted as lost, what comes later is kept."""
    folder = tmp_path / "spool"

    async def act(world: Outside, collector: Collector) -> None:
        collector.verdict = lambda _: Reply(503)
        config = world.config(training={"batch_size": 2})
        async with Uploader(config, folder) as uploader:
            await offer(uploader, range(6))
            await until(lambda: uploader.spooled == 6)
            remove(folder)
            if not at_once:
                await until(lambda: check(uploader)["dropped"] == 6)
            await offer(uploader, range(6, 8))
            await until(lambda: check(uploader)["dropped"] == 6)
            await until(lambda: check(uploader)["spooled"] == 2)
            with pytest.raises(StorageError, match="another running process"):
                Spool(folder, 1_000).open()
            collector.verdict = lambda _: None
            await until(lambda: check(uploader)["acknowledged"] == 2)
        assert collector.stored == ids(range(6, 8))

    run(act)
    assert [vars(one)["dropped"] for one in caplog.records if one.message == "spool_removed"] == [6]


def test_delivered_points_that_cannot_be_removed_are_sent_again_by_the_next_process_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They count as acknowledged, later points go on as usual, and a restart repeats them rather than skip any."""
    folder, away = tmp_path / "spool", tmp_path / "away"

    async def act(world: Outside, collector: Collector) -> None:
        collector.verdict = lambda _: Reply(503)
        config = world.config(training={"batch_size": 2})
        async with Uploader(config, folder) as uploader:
            await offer(uploader, range(4))
            await until(lambda: uploader.spooled == 4)

            def unmount(_: object) -> None:
                folder.rename(away)
                collector.verdict = lambda _: None

            collector.verdict = unmount
            await until(lambda: uploader.acknowledged == 4)
            (record,) = [one for one in caplog.records if one.message == "spool_position_not_saved"]
            assert vars(record)["sent_again"] == 4
            away.rename(folder)
            await offer(uploader, range(4, 6))
            await until(lambda: check(uploader)["acknowledged"] == 6)
        assert collector.stored == ids(range(6))
        async with Uploader(config, folder) as again:
            await until(lambda: again.acknowledged == 4)
        assert collector.stored[6:] == ids(range(4))

    run(act)


def test_a_position_that_cannot_be_saved_is_an_error_and_the_queue_goes_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1_000)
    spool.open()
    spool.append([b"a", b"b"])
    (tmp_path / "cursor.json").mkdir()
    with pytest.raises(StorageError, match=r"cursor\.json"):
        spool.take(spool.peek(1, 100))
    assert spool.peek(9, 100) == [b"b"]
    spool.close()


def test_rejected_points_that_cannot_be_kept_are_not_settled(tmp_path: Path) -> None:
    """The collector's refusal is final only once the points are in the file: until then they wait in the spool."""
    rejected = tmp_path / "rejected.jsonl"

    async def act(world: Outside, collector: Collector) -> None:
        collector.verdict = lambda _: as_json({"code": "nothing_acceptable", "message": "none"}, 422)
        rejected.mkdir()
        async with Uploader(world.config(training={"batch_size": 2}), tmp_path) as uploader:
            await offer(uploader, range(2))
            await until(lambda: uploader.spooled == 2)
            await until(lambda: len(world.requests) > 2)
            stats = check(uploader)
            assert (stats["rejected"], stats["acknowledged"]) == (0, 0)
            assert set(stats["failed_uploads"]) == {"cannot keep rejected points"}
            rejected.rmdir()
            await until(lambda: check(uploader)["rejected"] == 2)

    run(act)
    kept = [json.loads(line)["point"]["id"] for line in rejected.read_bytes().splitlines()]
    assert kept == ids(range(2))
