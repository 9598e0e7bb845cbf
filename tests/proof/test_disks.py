"""Storage: disks that refuse."""

import asyncio
import contextlib
import errno
import itertools
import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from collector_api.commits import Committer
from collector_api.metrics import CollectorMetrics
from flywheel_core.errors import RequestError, StorageError
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import read_table
from tests.core.lake.lakes import CONFIG, DAY, LATER, line
from tests.core.lake.lakes import point as raw_point
from tests.proof.conftest import Proof
from tests.proof.dataset_ids import dataset_of
from tests.proof.failing_disk import FailingDisk
from tests.proof.victims import STRACE, Victim, point, under_strace

ERRORS = (errno.EIO, errno.ENOSPC)


class Life:
    """Some days of a committer on a disk. acknowledged: ids of the lines that it stored; refused: how many it refused."""

    def __init__(self, layout: Layout, disk: FailingDisk) -> None:
        self.acknowledged: set[str] = set()
        self.refused = 0
        self.failed_starts = 0
        self._layout = layout
        self._disk = disk
        self._numbers = itertools.count()

    async def run(self) -> None:
        """Repair, append, store large lines, tidy up, begin a new day and stop; then all of it once more."""
        for _ in range(2):
            committer = await self._started()
            for day, size in ((DAY, 10), (DAY, 9_000), (DAY + timedelta(days=1), 10), (DAY, 10)):
                await self._store(committer, day, size)
                await committer._on_thread(committer._tidy)
            with contextlib.suppress(RequestError):
                await committer.check_ready()
            await self._store(committer, DAY, 10)
            await committer.stop()

    async def _started(self) -> Committer:
        committer = Committer(
            self._layout,
            None,
            CollectorMetrics(),
            commit_bytes=8_192,
            disk_floor_bytes=0,
            clock=lambda: 1_767_614_400.0,
            disk=self._disk,
        )
        try:
            await committer.start()
        except StorageError:
            self.failed_starts += 1
            await committer.stop()
            return await self._started()
        return committer

    async def _store(self, committer: Committer, day: object, size: int) -> None:
        assert isinstance(day, type(DAY))
        name = f"p-{next(self._numbers)}"
        text = line(raw_point(name, {"big": 0.5}, "q" * size))
        try:
            await committer.begin(day, text, [b"reject\n"], 0)
        except RequestError as error:
            assert error.code == "storage_unavailable"
            self.refused += 1
        else:
            self.acknowledged.add(name)


@pytest.mark.proof(
    "a disk that refuses once costs nothing that was acknowledged, and is forgiven",
    "EIO and ENOSPC at every single call that the collector makes to its disk, one after another",
)
def test_every_call_to_the_disk_fails_once(tmp_path: Path, proof: Proof) -> None:
    def live(nth: int | None, error: int) -> tuple[Life, FailingDisk]:
        layout = Layout(tmp_path / f"{nth}-{error}")
        layout.raw.mkdir(parents=True)
        layout.raw_file(DAY).write_bytes(line(raw_point("old", {"big": 0.5})) + b'{"torn')
        disk = FailingDisk(nth, error)
        life = Life(layout, disk)
        asyncio.run(life.run())
        found: Counter[str] = Counter()
        for day in layout.raw_days():
            ingest_day(layout, day, CONFIG, today=LATER)
            found.update(read_table(layout, "responses", [day])["data_point_id"].to_list())
        assert found["old"] == 1
        assert all(found[name] == 1 for name in life.acknowledged), disk.failed
        assert life.refused + life.failed_starts <= 1
        return life, disk

    healthy, disk = live(None, 0)
    assert (healthy.refused, healthy.failed_starts) == (0, 0)
    calls = range(0, len(disk.calls), proof.size(5, 1))
    refused: Counter[str] = Counter()
    for nth, error in itertools.product(calls, ERRORS):
        life, disk = live(nth, error)
        refused[f"refused_by_{disk.failed}"] += life.refused + life.failed_starts
    assert refused["refused_by_write"] and refused["refused_by_sync"]
    proof.note(calls_that_failed=len(calls) * len(ERRORS), batches_or_starts_refused=refused.total(), lost=0)


class Server:
    """A collector process, the ids that it acknowledged, and how often it gave each code of a refusal."""

    def __init__(self, data: Path, folder: Path, before: list[str] | None = None, floor: int = 0) -> None:
        self.layout = Layout(data)
        self._folder = folder
        self._config = folder / "flywheel.yaml"
        self._config.write_text(json.dumps({"storage": {"disk_floor_bytes": floor}}))
        self._numbers = itertools.count()
        self.acknowledged: set[str] = set()
        self.codes: Counter[str] = Counter()
        self.start(before)

    def start(self, before: list[str] | None = None) -> None:
        where = ["--data-dir", str(self.layout.root), "--config", str(self._config)]
        self.victim = Victim(["-m", "collector_api", "--port", "0", *where], self._folder / "log", before)
        if self.victim.first:
            self.address = json.loads(self.victim.first)["address"]

    def log(self) -> str:
        return (self._folder / "log").read_text()

    def collect(self, size: int = 10) -> bool:
        """Send a batch of three data points; return whether it was acknowledged. Fails on any status but 200 and 503."""
        names = [f"p-{next(self._numbers)}" for _ in range(3)]
        points = [point(name, question=name + "q" * size) for name in names]
        answer = httpx.post(f"{self.address}/collect", json={"data_points": points}, timeout=60)
        if answer.status_code == 200:
            self.acknowledged.update(names)
            return True
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        self.codes[answer.json()["code"]] += 1
        return False

    def ready(self) -> bool:
        return httpx.get(f"{self.address}/ready", timeout=60).status_code == 200

    def check(self) -> None:
        """Stop the collector, and check that every acknowledged data point is in the dataset once."""
        assert self.victim.stop() == 0, self.log()
        copy = Layout(self._folder / "copy")  # on a disk that has room for tables
        shutil.copytree(self.layout.raw, copy.raw)
        found = dataset_of(copy)
        assert self.acknowledged and self.acknowledged <= found.ids.keys()
        assert not found.twice


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start collectors; those that a failed test leaves running are killed."""
    made: list[Server] = []

    def start(*arguments: Any, **more: Any) -> Server:
        made.append(Server(*arguments, **more))
        return made[-1]

    yield start
    for server in made:
        server.victim.kill()


def cases() -> list[tuple[str, str, int]]:
    return [
        (call, error, nth)
        for nth in (1, 4, 17)
        for call in ("pwrite64", "fdatasync", "fsync")
        for error in ("EIO", "ENOSPC")
    ]


@pytest.mark.proof(
    "while storing fails: 503 and not ready; afterwards all goes on by itself",
    "strace makes the n-th and the next three pwrite64, fdatasync or fsync of a real collector fail with EIO or ENOSPC",
)
@pytest.mark.skipif(STRACE is None, reason="needs strace")
def test_system_calls_fail(tmp_path: Path, proof: Proof, serve: Callable[..., Server]) -> None:
    seen: Counter[str] = Counter()
    tried = cases()[:: proof.size(7, 1)]
    for number, (call, error, nth) in enumerate(tried):
        folder = tmp_path / str(number)
        folder.mkdir()
        server = serve(folder / "data", folder, under_strace(call, f"{nth}..{nth + 3}", f"error={error}"))
        if not server.victim.first:  # it refused to start: folders not durable
            assert server.victim.dies_by_itself(30)
            assert "cannot" in server.log() and "Traceback" not in server.log()
            seen["refused_starts"] += 1
            server.start()
        done = 0
        for _ in range(200):
            if server.collect():
                done += 1
            elif not server.ready():
                seen["not_ready"] += 1
                time.sleep(0.2)
            if done == 30:
                break
        assert done == 30
        assert server.ready()
        assert server.codes or call == "fsync", (
            f"{call} never failed"
        )  # every batch is written and synced, but a folder is synced only for a new file
        seen["answered_503"] += server.codes.total()
        seen["acknowledged"] += len(server.acknowledged)
        server.check()
    assert seen["answered_503"] and seen["not_ready"]
    proof.note(cases=len(tried), **seen, lost=0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB. Request it before `serve`, so that the collectors on it end before it is unmounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=2m", "flywheel-proof", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"mounting is refused: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.proof(
    "a full disk: 503, not ready, and on by itself once there is room",
    "a file system of 2 MB filled up, with a floor for free space and without, and emptied while the collector runs",
)
@pytest.mark.parametrize(("floor", "code"), [(0, "storage_unavailable"), (600_000, "disk_full")])
def test_a_full_disk(
    small_disk: Path, serve: Callable[..., Server], tmp_path: Path, proof: Proof, floor: int, code: str
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_000_000))
    server = serve(small_disk / "data", tmp_path, floor=floor)
    for size in (10_000, 10):  # until not even a small batch fits
        for _ in range(400):
            if not server.collect(size):
                break
            time.sleep(0.1 if floor else 0.0)  # the collector looks at the free space once a second
    before = len(server.acknowledged)
    assert not server.ready()
    assert not server.collect()
    assert server.codes.keys() == {code}
    ballast.unlink()
    for _ in range(100):
        if server.ready():
            break
        time.sleep(0.1)
    assert server.ready()
    assert server.collect(10_000)
    proof.note(acknowledged_until_full=before, acknowledged_in_all=len(server.acknowledged), lost=0)
    server.check()
