"""Uploads between real processes: a collector that stores, and an uploader that is killed."""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from flywheel_core.collect import Uploader
from flywheel_core.config import Config
from flywheel_core.records import DataPoint, Response
from tests.core.collect.outside import until


@contextmanager
def collector(folder: Path, **settings: Any) -> Iterator[str]:
    """Start a collector process, and give the address of its /collect."""
    folder.mkdir()
    (folder / "flywheel.yaml").write_text(json.dumps({"collector": settings}), encoding="utf-8")
    command = [sys.executable, "-m", "collector_api", "--port", "0", "--config", "flywheel.yaml"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--data-dir", "data"], stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder
        )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["address"] + "/collect"
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


def stored(folder: Path) -> Counter[str]:
    """Return how often each id is in the collector's raw files."""
    lines = [
        line
        for path in (folder / "data" / "raw").glob("*.jsonl")
        for line in path.read_bytes().split(b"\n")
        if line.strip()
    ]
    return Counter(json.loads(line)["id"] for line in lines)


def config_for(address: str, **training: Any) -> Config:
    return Config.model_validate(
        {"data_collection": {"storage_endpoint": address, "training": {"batch_size": 5, **training}}}
    )


def upload(config: Config, spool: Path, points: list[DataPoint]) -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        async with Uploader(config, spool) as uploader:
            for point in points:
                await uploader.offer(point)
            await until(lambda: not uploader.spooled or uploader.stats()["collector_away"])
            await uploader.close(deadline=30)
        return uploader.stats()

    return asyncio.run(main())


def point(number: int, question: str = "q", answer: str = "a") -> DataPoint:
    return DataPoint(f"p{number}", question, {"m": Response("m", answer)}, {"m": 0.5}, 1_700_000_000)


def test_points_reach_a_real_collector(tmp_path: Path) -> None:
    """Each point is stored once; one that the collector rejects is kept in a file with its code."""
    points = [point(number, answer="\u2028\n答" * 10) for number in range(23)]
    points.append(point(23, question="   "))
    with collector(tmp_path / "collector") as address:
        stats = upload(config_for(address), tmp_path / "spool", points)
    assert (stats["acknowledged"], stats["rejected"], stats["dropped"]) == (23, 1, 0)
    assert stored(tmp_path / "collector") == {f"p{number}": 1 for number in range(23)}
    kept = json.loads((tmp_path / "spool" / "rejected.jsonl").read_bytes())
    assert (kept["code"], kept["point"]["id"]) == ("question_empty", "p23")


def test_a_batch_too_large_for_a_real_collector_is_halved(tmp_path: Path) -> None:
    """The collector itself answers 413, for too many bytes and for too many points."""
    points = [point(number, answer="x" * 3_000) for number in range(40)]
    with collector(tmp_path / "collector", max_body_bytes=20_000, max_batch_points=4) as address:
        stats = upload(config_for(address, batch_size=20), tmp_path / "spool", points)
    assert stats["acknowledged"] == 40
    assert stored(tmp_path / "collector") == {f"p{number}": 1 for number in range(40)}


@pytest.mark.parametrize("seed", range(3))
def test_sigkill_loses_nothing_that_was_spooled(tmp_path: Path, seed: int) -> None:
    """The uploader is killed while it spools; after a restart every point reported on disk arrives once."""
    spool = tmp_path / "spool"
    command = [sys.executable, "-m", "tests.core.collect.spooling", str(spool), "http://127.0.0.1:1/collect"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    said = int(process.stdout.readline())
    time.sleep(random.Random(seed).uniform(0.0, 0.7))
    process.kill()
    process.wait(30)
    said = max([said, *(int(line) for line in process.stdout.read().split("\n") if line)])
    process.stdout.close()
    with collector(tmp_path / "collector") as address:
        stats = upload(config_for(address), spool, [])
        assert httpx.get(address.replace("/collect", "/health")).text.strip() == "OK"
    assert stats["offered"] == stats["acknowledged"] >= said > 0
    counts = stored(tmp_path / "collector")
    assert len(counts) == stats["acknowledged"], (
        "which they are is open: batches under way are lost, later ones may be on disk"
    )
    assert set(counts.values()) == {1}
