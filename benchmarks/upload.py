"""`python -m benchmarks.upload`: uploader and collector, in data points/s and through an outage.

Uses a real collector process and data points of about 18 KB. First both run as fast as they can. Then, at a
steady rate, the collector is killed, stays away, and comes back: how many points are lost, and how long does
the spool take to empty afterwards?
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import uvloop

from benchmarks.common import (
    cpu_seconds,
    free_port,
    machine_info,
    print_result,
    print_table,
    wait_until_listening,
)
from flywheel_core.collect import Uploader
from flywheel_core.config import DEFAULT_CANDIDATES, Config
from flywheel_core.records import DataPoint, Response

ANSWER = "这是一个示例答案 with some English text, and a formula x^2+2x-3=0. " * 40


class CollectorProcess:
    """A collector on one port and one data folder, to be started and killed at will."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return once it accepts connections."""
        command = [sys.executable, "-m", "collector_api", "--port", str(self.port), "--data-dir", "data"]
        log = self.folder / "collector.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=output, stderr=output)
        wait_until_listening(self.port, self.process, seconds=20, log=log)

    def end(self, number: int) -> None:
        """Send a signal and wait for the process to end."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def stored(self) -> dict[str, int]:
        """Return how often each id is in the raw files."""
        counts: dict[str, int] = {}
        for path in sorted((self.folder / "data" / "raw").glob("*.jsonl")):
            with path.open("rb") as file:
                for line in file:
                    if line.strip(b"\n"):
                        found = msgspec.json.decode(line)["id"]
                        counts[found] = counts.get(found, 0) + 1
        return counts


def point(name: str) -> DataPoint:
    """Return the data point of a complete fan-out, about 18 KB."""
    return DataPoint(
        id=name,
        question="求解方程 x^2 + 2x - 3 = 0",
        responses={model: Response(model, ANSWER, 812, finish_reason="stop") for model in DEFAULT_CANDIDATES},
        scores=dict.fromkeys(DEFAULT_CANDIDATES, 0.8),
        timestamp=int(time.time()),
    )


async def throughput(config: Config, spool: Path, seconds: float) -> dict[str, float]:
    """Offer as fast as the uploader accepts; return the rate that the collector acknowledged."""
    uploader = Uploader(config, spool)
    await uploader.start()
    ours = psutil.Process(os.getpid())
    cpu = cpu_seconds_of_self(ours)
    start = time.perf_counter()
    while time.perf_counter() < start + seconds:
        await uploader.offer(point(f"t{uploader.offered}"))
        await until(lambda: uploader.in_memory <= 200)
    await until(lambda: not uploader.in_memory and not uploader.spooled)
    elapsed = time.perf_counter() - start
    used = cpu_seconds_of_self(ours) - cpu
    await uploader.close()
    return {
        "points_per_s": uploader.acknowledged / elapsed,
        "cpu_us_per_point": used / uploader.acknowledged * 1e6,
        "spilled": uploader.stats()["spool_bytes"],
    }


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition on the uploader holds."""
    while not condition():  # noqa: ASYNC110 - the uploader has no event to wait for
        await asyncio.sleep(0.001)


def cpu_seconds_of_self(process: psutil.Process) -> float:
    """Return the CPU time of this process in seconds, without its children."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def outage(
    config: Config, spool: Path, collector: CollectorProcess, rate: float, seconds: float
) -> tuple[dict[str, float], int]:
    """Offer at `rate`, with the collector killed for `seconds`; return figures and number of points."""
    uploader = Uploader(config, spool)
    await uploader.start()
    balanced = True
    ended = asyncio.Event()

    async def flow() -> None:
        nonlocal balanced
        number = 0
        while not ended.is_set():
            await uploader.offer(point(f"o{number}"))
            number += 1
            stats = uploader.stats()
            parts = ("acknowledged", "rejected", "spooled", "in_memory", "dropped")
            balanced = balanced and stats["offered"] == sum(stats[name] for name in parts)
            await asyncio.sleep(1 / rate)

    flowing = asyncio.create_task(flow())
    await asyncio.sleep(3)
    await asyncio.to_thread(collector.end, signal.SIGKILL)
    await asyncio.sleep(seconds)
    spooled = uploader.spooled
    await asyncio.to_thread(collector.start)
    back = time.perf_counter()
    await until(lambda: not uploader.spooled and not uploader.stats()["collector_away"])
    recovery = time.perf_counter() - back
    ended.set()
    await flowing
    await uploader.close()
    return {
        "recovery_s": recovery,
        "spooled_at_the_end": spooled,
        "balanced": float(balanced),
        "dropped": uploader.dropped,
    }, uploader.offered


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds at full speed")
    parser.add_argument("--rate", type=float, default=50.0, help="data points/s while the collector is away")
    parser.add_argument("--outage", type=float, default=30.0, help="seconds that the collector is away")
    parser.add_argument("--folder", type=Path, help="where data and spool lie; temporary unless given")
    arguments = parser.parse_args()
    machine = machine_info()
    with tempfile.TemporaryDirectory(prefix="upload-", dir=arguments.folder) as name:
        folder = Path(name)
        collector = CollectorProcess(folder)
        address = f"http://127.0.0.1:{collector.port}/collect"
        config = Config.model_validate(
            {"data_collection": {"storage_endpoint": address, "training": {"flush_interval": 1.0}}}
        )
        collector.start()
        try:
            assert collector.process is not None
            before = cpu_seconds(psutil.Process(collector.process.pid))
            fast = uvloop.run(throughput(config, folder / "spool", arguments.seconds))
            collector_cpu = cpu_seconds(psutil.Process(collector.process.pid)) - before
            slow, offered = uvloop.run(
                outage(config, folder / "spool", collector, arguments.rate, arguments.outage)
            )
        finally:
            collector.end(signal.SIGTERM)
        counts = {name: count for name, count in collector.stored().items() if name.startswith("o")}
        lost = offered - len(counts)
        twice = sum(count > 1 for count in counts.values())
    figures = {
        **{key: round(value, 2) for key, value in {**fast, **slow}.items()},
        "collector_cpu_s": round(collector_cpu, 2),
        "offered_through_outage": offered,
        "sent_twice": twice,
    }
    print_table(["figure", "value"], [[key, value] for key, value in [*figures.items(), ("lost", lost)]])
    ratios = {"points_per_s": fast["points_per_s"], "lost": lost, "recovery_s": slow["recovery_s"]}
    print_result("upload", ratios, json.loads(json.dumps(figures)), machine)


if __name__ == "__main__":
    main()
