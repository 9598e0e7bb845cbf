"""What benchmarks share: machine description, process measurements, and the result line."""

import argparse
import contextlib
import json
import math
import os
import platform
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil


def machine_info() -> dict[str, Any]:
    """Describe the machine: processors, memory in GiB, kernel, Python, Flywheel, load before the run."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if "model name" in line]
        name = names[0].partition(":")[2].strip() if names else name
    return {
        "cpu": name,
        "cpus": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "flywheel": version("flywheel"),
        "load_1m": round(os.getloadavg()[0], 2),
    }


def existing_folder(text: str) -> Path:
    """Return a folder that an option names. Raises ArgumentTypeError, of which argparse makes a usage error."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text}")
    return path


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process and its living children so far, user and system, in seconds."""
    total = 0.0
    for member in [process, *process.children(recursive=True)]:
        times = member.cpu_times()
        total += times.user + times.system
    return total


def memory_mib(process: psutil.Process) -> float:
    """Return the resident memory of a process and its living children, in MiB."""
    members = [process, *process.children(recursive=True)]
    return float(sum(member.memory_info().rss for member in members)) / 2**20


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that a share (0..1) of them does not exceed.

    Raises ValueError when empty.
    """
    if not values:
        raise ValueError("there is no percentile of nothing")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def middle(runs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of every figure over several runs that have the same figures."""
    gathered = list(runs)
    return {name: median(run[name] for run in gathered) for name in gathered[0]}


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns: the first to the left, the others to the right."""
    cells = [[_shown(value) for value in row] for row in rows]
    widths = [max(len(line[at]) for line in [list(columns), *cells]) for at in range(len(columns))]
    for line in [list(columns), *cells]:
        first = line[0].ljust(widths[0])
        print(
            "  ".join([first, *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))])
        )


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def print_result(
    benchmark: str,
    ratios: Mapping[str, float],
    figures: Mapping[str, Any],
    machine: Mapping[str, Any] | None = None,
) -> None:
    """Print the result line: one JSON object for comparing runs. Ratios keep four significant digits."""
    result = {
        "benchmark": benchmark,
        "ratios": {name: float(f"{ratio:.4g}") for name, ratio in ratios.items()},
        "figures": dict(figures),
        "machine": dict(machine_info() if machine is None else machine),
    }
    print(json.dumps(result, ensure_ascii=False), flush=True)


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_listening(
    port: int, process: subprocess.Popen[Any], *, seconds: float, log: Path | None = None
) -> None:
    """Return once `port` accepts connections.

    Raises SystemExit, with the end of the log, when the process ends first or `seconds` have passed.
    """
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    said = "" if log is None else f":\n{log.read_text(encoding='utf-8', errors='replace')[-3_000:]}"
    raise SystemExit(f"{process.args!r} does not listen on port {port}{said}")


class Stopwatch:
    """Wall-clock seconds of a `with` block, in `seconds`."""

    seconds = 0.0

    def __enter__(self) -> "Stopwatch":
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start
