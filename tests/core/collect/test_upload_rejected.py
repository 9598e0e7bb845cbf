"""What an uploader does with data points that a collector refuses for good: they are set aside with its reply."""

import json
import time
from pathlib import Path

import pytest

from flywheel_core.collect import Uploader, delivery
from flywheel_core.collect.delivery import Rejection, judge, keep_rejected
from flywheel_core.collect.http import Reply as HttpReply
from tests.core.collect.outside import Outside, Reply, as_json, until
from tests.core.collect.uploading import Collector, check, ids, offer, point, run, success

pytestmark = pytest.mark.usefixtures("short_waits")


def test_rejected_points_are_set_aside_with_the_answer(tmp_path: Path) -> None:
    """A point that the collector names is kept in a file and not sent again; the others are acknowledged."""

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
    """A file beyond its limit is renamed, and one such file is kept; the latest points are always there."""
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


def test_batches_that_are_rejected_at_once_rename_the_full_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second renaming would replace the points of the full file, kept nowhere else, by those of the first batch."""
    full = b"{}\n" * 1_000
    (tmp_path / "rejected.jsonl").write_bytes(full)
    monkeypatch.setattr(delivery, "MAX_REJECTED_BYTES", 2_000)
    replace = Path.replace

    def replace_slowly(path: Path, target: Path) -> Path:
        time.sleep(0.2)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replace_slowly)

    async def act(world: Outside, collector: Collector) -> None:
        collector.verdict = lambda _: Reply(422)
        async with Uploader(world.config(training={"batch_size": 1}), tmp_path) as uploader:
            await offer(uploader, range(4))
            await until(lambda: uploader.rejected == 4)

    run(act)
    assert (tmp_path / "rejected.jsonl.old").read_bytes() == full
    kept = (tmp_path / "rejected.jsonl").read_bytes().splitlines()
    assert sorted(json.loads(line)["point"]["id"] for line in kept) == ids(range(4))


def test_a_rejected_point_never_continues_a_line_that_was_cut_off(tmp_path: Path) -> None:
    """As a crash, or a disk that filled up, leaves one."""
    path = tmp_path / "rejected.jsonl"
    path.write_bytes(b'{"status":422,"code":"quest')
    keep_rejected(path, [b"{}"], [Rejection(0, 422, "question_empty", "there is none")])
    torn, whole = path.read_bytes().splitlines()
    assert torn == b'{"status":422,"code":"quest'
    assert json.loads(whole)["code"] == "question_empty"


@pytest.mark.parametrize("status", [200, 422])
def test_the_collectors_words_about_rejected_points_are_bounded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """They are written once for each point of the batch: of a reply of 1 MiB, a thousand times."""

    async def act(world: Outside, collector: Collector) -> None:
        long = "é" * 100_000
        named = [{"index": index, "code": long, "message": long} for index in range(3)]
        body = {"status": "success", "count": 0, "code": long, "message": long}
        collector.verdict = lambda points: as_json(
            body | {"rejected": named[: len(points)] if status == 200 else []}, status
        )
        async with Uploader(world.config(training={"batch_size": 3}), tmp_path) as uploader:
            await offer(uploader, range(3))
            await until(lambda: uploader.rejected == 3)

    run(act)
    assert (tmp_path / "rejected.jsonl").stat().st_size < 10_000
    (logged,) = [record for record in caplog.records if record.message == "points_rejected"]
    assert len(vars(logged)["first"]) < 1_000


def test_a_rejected_point_and_the_name_of_its_file_are_durable(
    tmp_path: Path, steps: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From then on that file is the only place that holds the point."""
    monkeypatch.setattr(delivery, "MAX_REJECTED_BYTES", 100)
    path = tmp_path / "rejected.jsonl"
    for synced in ([path, tmp_path], [path], [path, tmp_path]):
        steps.clear()
        keep_rejected(path, [b"{}"], [Rejection(0, 422, "question_empty", "there is none")])
        assert [one for one in steps if one[0] == "sync"] == [("sync", path) for path in synced]
    held = [handle.resolve().name for handle in Path("/proc/self/fd").iterdir()]
    assert not any(name.startswith("rejected.jsonl") for name in held), "files stay open"


@pytest.mark.parametrize("status", [400, 413])
def test_a_refused_batch_is_halved_down_to_the_point_at_fault(tmp_path: Path, status: int) -> None:
    """Of eight points one is bad: seven are stored, and that one is kept in a file."""

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


def test_a_half_that_was_stored_is_not_sent_again(tmp_path: Path) -> None:
    """Of a batch that is halved, only the half that the collector did not store is sent again.

    The first half is stored; then the collector answers 503, so the second half waits alone.
    """

    async def act(world: Outside, collector: Collector) -> None:
        answers = [Reply(413), None, Reply(503)]
        collector.verdict = lambda _: answers.pop(0) if answers else None
        async with Uploader(world.config(training={"batch_size": 4}), tmp_path) as uploader:
            await offer(uploader, range(4))
            await until(lambda: check(uploader)["acknowledged"] == 4)
        assert collector.stored == ids(range(4))

    run(act)


def test_a_413_from_the_spool_is_halved_too(tmp_path: Path) -> None:
    """Spooled points may be more than the collector accepts at once."""

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
    """When nothing in a batch is acceptable, all its points are kept in a file and none is sent again."""

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
    """Where the collector names a reason for a point, that point gets its own."""
    named = [{"index": 1, "code": "id_invalid", "message": "the id is empty"}]
    body = {"code": "nothing_acceptable", "message": "no point is valid", "rejected": named}
    verdict = judge(HttpReply(422, {}, json.dumps(body).encode()), 2)
    assert [(one.code, one.message) for one in verdict.rejected] == [
        ("nothing_acceptable", "no point is valid"),
        ("id_invalid", "the id is empty"),
    ]


@pytest.mark.parametrize("body", [b"<html>too large</html>", b"[]", b""], ids=["page", "list", "empty"])
def test_a_refusal_that_no_collector_wrote_is_kept_as_it_came(body: bytes) -> None:
    """A proxy in between may refuse in its own words: the point is set aside with them."""
    verdict = judge(HttpReply(413, {}, body), 1)
    assert verdict.kind == "taken"
    assert verdict.rejected == [Rejection(0, 413, "rejected", body.decode())]
