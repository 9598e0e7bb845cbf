"""Measure raw lines to training lines and to a dataset: `python -m benchmarks.aggregate --peer COMMAND`.

Measures `flywheel generate` and the nightly steps (ingest with answers, examples with labels, label
distribution, dataset), each in its own process, on synthetic raw files of large data points. The peer command
is called with `--input FILE --output FILE`, on the first size only. Flywheel and the peer run alternately;
figures are medians of wall-clock time. Memory is the largest sampled resident size of a process and its
children together.
"""

import argparse
import contextlib
import random
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import psutil

from benchmarks.common import (
    Stopwatch,
    existing_folder,
    machine_info,
    memory_mib,
    middle,
    percentile,
    print_result,
    print_table,
)
from benchmarks.load import LARGE_BYTES, SMALL_BYTES, point
from benchmarks.nightly import nightly
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.parquet import write_rows
from flywheel_core.lake.schemas import TRAINING_EXAMPLES

DAY = date(2026, 1, 1)
GIGABYTE = 1_000_000_000
BASES = 2_000
"""Number of different points in the raw files; ids, questions and scores differ in every line."""

HISTORIES = (10, 365)
HISTORY_POINTS = 1_000
HISTORY_WINDOW = 7


@dataclass(frozen=True)
class Run:
    """One measured process: wall-clock and CPU seconds, and its peak memory in GiB."""

    seconds: float
    cpu_seconds: float
    peak_gib: float


def write_raw(path: Path, size: int, large: bool = True) -> int:
    """Write canonical lines of about `size` bytes in total; return the number of points."""
    draw = random.Random(1)
    bases = [point(number, LARGE_BYTES if large else SMALL_BYTES, gateway=False) for number in range(BASES)]
    encode = msgspec.json.Encoder().encode
    written = number = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        while written < size:
            base: dict[str, Any] = bases[number % BASES]
            line = encode(
                {
                    **base,
                    "id": f"point-{number}",
                    "question": f"{number:x} {base['question']}",
                    "scores": {model: round(draw.random(), 3) for model in base["scores"]},
                }
            )
            written += file.write(line + b"\n")
            number += 1
    return number


def measure(command: Sequence[str]) -> Run:
    """Run a command to its end and return its figures. Raises CalledProcessError when it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = 0.0
    with Stopwatch() as watch:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        seen = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                peak = max(peak, memory_mib(seen))
            time.sleep(0.1)  # each sample costs 3 ms of CPU
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(watch.seconds, cpu, peak / 1024)


def make_history(data: Path, days: int) -> None:
    """Make a data folder with `days` days before `DAY`, with `HISTORY_POINTS` points in each."""
    layout = Layout(data)
    write_raw(layout.raw_file(DAY), HISTORY_POINTS * SMALL_BYTES, large=False)
    nightly(data, DAY)
    shutil.rmtree(layout.datasets)
    examples = pl.read_parquet(layout.table("training_examples", DAY))
    for back in range(1, days + 1):
        day = DAY - timedelta(days=back)
        shutil.copy(layout.raw_file(DAY), layout.raw_file(day))
        shutil.copy(layout.table("responses", DAY), layout.table("responses", day))
        earlier = examples.with_columns(
            day=pl.lit(day),
            data_point_id=pl.col("data_point_id") + f"-{back}",
            question_key=pl.col("question_key").str.slice(4) + f"{back:04d}",
        )
        batches = earlier.to_arrow().cast(TRAINING_EXAMPLES).to_batches()
        write_rows(layout.table("training_examples", day), TRAINING_EXAMPLES, batches)


def day_costs(folder: Path, runs: int) -> dict[int, float]:
    """Return number of earlier days -> median seconds of a nightly run (window: `HISTORY_WINDOW` days)."""
    for days in HISTORIES:
        make_history(folder / str(days), days)
    found: dict[int, list[float]] = {days: [] for days in HISTORIES}
    for _ in range(runs):
        for days in HISTORIES:
            shutil.rmtree(Layout(folder / str(days)).datasets, ignore_errors=True)
            with Stopwatch() as watch:
                nightly(folder / str(days), DAY, HISTORY_WINDOW)
            found[days].append(watch.seconds)
    return {days: percentile(seconds, 0.5) for days, seconds in found.items()}


def measure_size(folder: Path, size: int, peer: str | None, runs: int) -> dict[str, dict[str, float]]:
    """Measure raw lines of `size` bytes; return what was run -> its figures."""
    data = folder / "data"
    raw = Layout(data).raw_file(DAY)
    write_raw(raw, size)
    output = folder / "training.jsonl"
    flywheel = str(Path(sys.executable).parent / "flywheel")
    commands = {
        "flywheel generate": [flywheel, "generate", "--input", str(raw), "--output", str(output)],
        "nightly steps": [sys.executable, "-m", "benchmarks.nightly", str(data), DAY.isoformat()],
    }
    if peer:
        commands["peer"] = [*shlex.split(peer), "--input", str(raw), "--output", str(output)]
    found: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            for derived in (Layout(data).tables, Layout(data).datasets):
                shutil.rmtree(derived, ignore_errors=True)
            found[name].append(measure(command))
            print(f"  {size / GIGABYTE:g} GB, {name}: {found[name][-1].seconds:.2f} s", file=sys.stderr)
    shutil.rmtree(data)
    return {name: middle([vars(run) for run in measured]) for name, measured in found.items()}


def main() -> None:
    """Run the benchmark and print its table and its result line."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.aggregate", description=__doc__)
    options.add_argument("--peer", help="command to compare with, without its --input and --output")
    options.add_argument(
        "--sizes", default="1,4", help="sizes of raw files, in GB; the peer runs on the first"
    )
    options.add_argument("--runs", type=int, default=3, help="runs on the first size; the others run once")
    options.add_argument(
        "--folder", type=existing_folder, help="where to work (needs twice the largest size free)"
    )
    chosen = options.parse_args()
    machine = machine_info()
    sizes = [float(size) for size in chosen.sizes.split(",")]
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="flywheel-aggregate-", dir=chosen.folder) as made:
        folder = Path(made)
        for place, size in enumerate(sizes):
            first = place == 0
            measured = measure_size(
                folder, int(size * GIGABYTE), chosen.peer if first else None, chosen.runs if first else 1
            )
            figures[f"{size:g}gb"] = measured
        costs = day_costs(folder / "histories", runs=5)
    figures["nightly_seconds_by_days_behind"] = {str(days): seconds for days, seconds in costs.items()}
    rows = [
        (f"{size}, {name}", found["seconds"], found["cpu_seconds"], found["peak_gib"])
        for size, measured in figures.items()
        if size.endswith("gb")
        for name, found in measured.items()
    ]
    print_table(("what", "seconds", "CPU s", "peak GiB"), rows)
    print_table(("days behind", "seconds of one night"), list(costs.items()))
    ratios = {
        f"peak_gib_{size}": max(found["peak_gib"] for name, found in measured.items() if name != "peer")
        for size, measured in figures.items()
        if size.endswith("gb")
    }
    ratios["day_cost_365_over_10"] = costs[365] / costs[10]
    first_size = f"{sizes[0]:g}gb"
    if chosen.peer:
        measured = figures[first_size]
        for ratio, name in (("generate", "flywheel generate"), ("nightly", "nightly steps")):
            ratios[f"{ratio}_{first_size}"] = measured["peer"]["seconds"] / measured[name]["seconds"]
    print_result("aggregate", ratios, figures, machine)


if __name__ == "__main__":
    main()
