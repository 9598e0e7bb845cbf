"""Faults 13 to 18 of the reference implementation, those of its storage service: each is shown to be absent here."""

import asyncio
import errno
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from collector_api.app import CollectorApp
from collector_api.collect import Collect
from collector_api.commits import Committer
from collector_api.disk import BLOCK, Disk
from collector_api.metrics import CollectorMetrics
from flywheel_core.config import Collector
from flywheel_core.lake.layout import Layout
from flywheel_core.serve.access import Access
from flywheel_core.serve.keys import KeyStore

from .conftest import Process, Start, body_of, lines_of, point

MIDNIGHT = datetime(2026, 1, 6, tzinfo=UTC).timestamp()


class Counting(Disk):
    """The real disk, counting its syncs; on demand, syncs block or fail, and a write stops part-way.

    gate: while it is cleared, syncs block. short: the next write fails after a part. broken: the next sync fails.
    """

    def __init__(self) -> None:
        self.syncs = 0
        self.folder_syncs: list[Path] = []
        self.short = False
        self.broken = False
        self.gate = threading.Event()
        self.gate.set()

    def write(self, file: int, data: memoryview, offset: int) -> None:
        if self.short:
            self.short = False
            self._pass_cache_by(file, False)
            os.pwrite(
                file, data[: bytes(data).index(b"\n") + 20], offset
            )  # the first line and a part of the second
            raise OSError(errno.EIO, "only a part was written")
        super().write(file, data, offset)

    def sync(self, file: int) -> None:
        self.gate.wait(30)
        self.syncs += 1
        if self.broken:
            self.broken = False
            raise OSError(errno.EIO, "injected")
        super().sync(file)

    def sync_folder(self, folder: Path) -> None:
        self.folder_syncs.append(folder)
        super().sync_folder(folder)


class Site:
    """The collector's application in this process, with a folder, disk and clock that the test controls."""

    def __init__(self, root: Path) -> None:
        self.now = MIDNIGHT - 10
        self.disk = Counting()
        self.root = root
        layout = Layout(root)
        metrics = CollectorMetrics()
        settings = Collector()
        self.committer = Committer(
            layout, None, metrics, commit_bytes=65_536, disk_floor_bytes=0, clock=self.time, disk=self.disk
        )
        access = Access(KeyStore(layout.keys), "127.0.0.1", allow_anonymous=False)
        collect = Collect(settings, access, self.committer, metrics, clock=self.time)
        self.app = CollectorApp(collect, self.committer, metrics, settings.max_batch_points)

    def time(self) -> float:
        return self.now

    async def __aenter__(self) -> "Site":
        await self.committer.start()
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://collector")
        self.disk.syncs = 0
        return self

    async def __aexit__(self, *_: object) -> None:
        self.disk.gate.set()
        await self.client.aclose()
        await self.committer.stop()

    async def collect(self, *points: Any, **more: Any) -> httpx.Response:
        return await self.client.post("/collect", content=body_of(*points, **more))

    def ids(self, name: str) -> list[str]:
        return [line["id"] for line in lines_of(self.root / "raw", name)]


def test_fault_13_the_day_file_changes_at_midnight_without_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with Site(tmp_path) as site:
            await site.collect(point(1))
            site.disk.gate.clear()
            under_way = asyncio.create_task(site.collect(point(2)))
            await asyncio.sleep(0.05)
            before = asyncio.create_task(site.collect(point(3)))
            await asyncio.sleep(0.05)
            site.now = MIDNIGHT + 1
            after = asyncio.create_task(site.collect(point(4)))
            await asyncio.sleep(0.05)
            site.disk.gate.set()
            assert [(await task).status_code for task in (under_way, before, after)] == [200, 200, 200]
            assert site.ids("training_data_20260105.jsonl") == ["p-1", "p-2", "p-3"]
            assert site.ids("training_data_20260106.jsonl") == ["p-4"]

    asyncio.run(main())


def test_fault_14_a_batch_that_fails_is_not_stored_twice_by_its_retry(tmp_path: Path) -> None:
    async def main() -> None:
        async with Site(tmp_path) as site:
            batch = [
                {key: value for key, value in point(number).items() if key != "id"} for number in range(3)
            ]
            assert (await site.collect(point(9))).status_code == 200
            (file,) = (tmp_path / "raw").iterdir()
            while file.stat().st_size % BLOCK == 0:  # noqa: ASYNC110 - until the padding after its last line is trimmed
                await asyncio.sleep(0.05)
            site.disk.broken = True
            refused = await site.collect(*batch)
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
            assert (await site.collect(*batch)).json()["count"] == 3
            ids = site.ids("*.jsonl")
            assert len(ids) == len(set(ids)) == 1 + 3

    asyncio.run(main())


def test_fault_15_short_writes_merge_no_lines_failed_syncs_are_reported_and_folders_are_synced(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with Site(tmp_path) as site:
            assert (await site.collect(point(1))).status_code == 200
            assert site.disk.folder_syncs.count(tmp_path / "raw") == 1
            site.disk.short = True
            assert (await site.collect(point(2))).status_code == 503
            assert (await site.collect(point(3))).status_code == 200
            site.disk.broken = True
            assert (await site.collect(point(4))).status_code == 503
            assert (
                await site.client.get("/ready")
            ).status_code == 200  # /ready itself tries whether storing works again
            assert (await site.collect(point(5))).status_code == 200
        assert site.disk.folder_syncs.count(tmp_path / "raw") >= 3
        names = [
            "training_data_20260105.jsonl",
            "training_data_20260105.1.jsonl",
            "training_data_20260105.2.jsonl",
        ]
        assert [site.ids(name) for name in names] == [["p-1"], ["p-3"], ["p-5"]], "none is written on"
        assert len(list((tmp_path / "raw").iterdir())) == 3

    asyncio.run(main())


def test_fault_16_concurrent_requests_share_a_sync(tmp_path: Path) -> None:
    async def main() -> None:
        async with Site(tmp_path) as site:
            site.disk.gate.clear()
            requests = [asyncio.create_task(site.collect(point(number))) for number in range(50)]
            await asyncio.sleep(0.2)
            site.disk.gate.set()
            assert {(await request).status_code for request in requests} == {200}
            assert 1 <= site.disk.syncs <= 3

    asyncio.run(main())


def test_fault_17_bodies_times_and_access_are_bounded_and_a_full_disk_is_reported(
    launch: Start, tmp_path: Path
) -> None:
    full = launch(tmp_path / "full", storage={"disk_floor_bytes": 2**60})
    for refused in (full.client.get("/ready"), full.collect(point(1))):
        assert (refused.status_code, refused.json()["code"]) == (503, "disk_full")
    assert full.client.get("/health").text == "OK"
    key = KeyStore(Layout(tmp_path / "bounded").keys).create("east")
    bounded = launch(tmp_path / "bounded", header_timeout=0.5, max_body_bytes=1_024)
    with bounded.connect() as silent:
        assert silent.recv(1) == b""
    known = {"authorization": f"Bearer {key}"}
    assert bounded.collect(point(1), headers=known).status_code == 200
    large = bounded.collect(point(2, question="large " * 200), headers=known)
    assert large.status_code == 413
    assert large.json()["code"] == "body_too_large"
    stranger = bounded.collect(point(3))
    assert stranger.status_code == 401
    assert stranger.json()["code"] == "key_missing"
    assert bounded.stop() == 0


def test_fault_18_the_count_is_what_was_stored_and_null_is_not_stored(collector: Process) -> None:
    before = len(collector.raw())
    answer = collector.collect(content=body_of(point(1), None, point(2), count=99))
    assert answer.json()["count"] == 2
    assert [item["code"] for item in answer.json()["rejected"]] == ["point_not_object"]
    raw = collector.raw()
    assert len(raw) == before + 2
    assert None not in raw
    assert all(json.loads(json.dumps(line))["responses"] for line in raw)
