"""Durable points/s of the collector and a peer: `python -m benchmarks.collector --peer COMMAND|ADDRESS`.

Every load runs several times, alternately on Flywheel's collector and the peer; figures are medians. CPU and
memory are those of the server. A peer given as a command is started in an empty folder with PORT in its
environment.
"""

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.common import (
    cpu_seconds,
    free_port,
    machine_info,
    memory_mib,
    middle,
    print_result,
    print_table,
    wait_until_listening,
)

CONNECTIONS = (1, 16, 64, 256)
SHAPES = ("large", "small")
START_SECONDS = 20.0


@dataclass(frozen=True)
class Server:
    """A server under load; `process` and `folder` are None if it was given as an address."""

    name: str
    host: str
    port: int
    process: psutil.Process | None
    folder: Path | None


@contextlib.contextmanager
def started(name: str, command: list[str], folder: Path, port: int, sync_delay_ms: float) -> Iterator[Server]:
    """Run a server process on `port`, its syncs delayed by `sync_delay_ms` (which needs strace)."""
    folder.mkdir()
    if sync_delay_ms:
        delay = f"inject=fsync,fdatasync:delay_enter={int(sync_delay_ms * 1000)}"
        command = [
            "strace",
            "-f",
            "-qq",
            "--seccomp-bpf",
            "-e",
            "trace=fsync,fdatasync",
            "-e",
            delay,
            "-o",
            os.devnull,
            *command,
        ]
    environment = {**os.environ, "PORT": str(port)}
    log = folder.parent / f"{folder.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        wait_until_listening(port, process, seconds=START_SECONDS, log=log)
        server = psutil.Process(process.pid)
        if sync_delay_ms:
            server = server.children()[0]  # leave strace's own CPU time out
        yield Server(name, "127.0.0.1", port, server, folder)
    finally:
        for child in psutil.Process(process.pid).children() if process.poll() is None else []:
            child.terminate()
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure(server: Server, connections: int, shape: str, seconds: float) -> dict[str, float]:
    """Run one load on one server.

    Returns points/s, MB/s, latencies in ms, CPU time in us per point, and resident memory in MiB.
    """
    load = [
        sys.executable,
        "-m",
        "benchmarks.load",
        server.host,
        str(server.port),
        str(connections),
        str(seconds),
        shape,
    ]
    before = cpu_seconds(server.process) if server.process else 0.0
    child = subprocess.run(load, capture_output=True, text=True, check=False)
    if child.returncode:
        raise SystemExit(f"load on {server.name} failed: {child.stderr.strip().splitlines()[-1]}")
    found = json.loads(child.stdout.splitlines()[-1])
    figures = {
        "points_per_s": found["points"] / found["seconds"],
        "mb_per_s": found["bytes"] / found["seconds"] / 1e6,
        "p50_ms": found["p50_ms"],
        "p99_ms": found["p99_ms"],
    }
    if server.process:
        used = cpu_seconds(server.process) - before
        total = figures["points_per_s"] * (found["seconds"] + 1.0)  # CPU time includes the warm-up second
        figures["cpu_us_per_point"] = used / total * 1e6
        figures["memory_mib"] = memory_mib(server.process)
    if server.folder:
        _forget(server.folder)
    return figures


def _forget(folder: Path) -> None:
    """Free the disk space that a run has used up; the servers keep appending to their files."""
    for file in folder.rglob("*.jsonl"):
        if file.stat().st_size > 2 * 2**30:
            os.truncate(file, 0)


def compare(ours: Server, peer: Server | None, arguments: argparse.Namespace) -> None:
    """Run all loads alternately; print the table and the result line."""
    machine = machine_info()
    ratios: dict[str, float] = {}
    figures: dict[str, dict[str, dict[str, float]]] = {}
    rows = []
    for shape in arguments.shapes:
        for connections in arguments.connections:
            runs: dict[str, list[dict[str, float]]] = {}
            for _ in range(arguments.rounds):
                for server in filter(None, (ours, peer)):
                    runs.setdefault(server.name, []).append(
                        measure(server, connections, shape, arguments.seconds)
                    )
            found = {name: middle(list_) for name, list_ in runs.items()}
            figures[f"{shape}_{connections}"] = found
            for name, one in found.items():
                rows.append([f"{shape} {connections} {name}", *one.values()])
            if peer:
                mine, other = found[ours.name], found[peer.name]
                ratios[f"{shape}_{connections}"] = mine["points_per_s"] / other["points_per_s"]
                if "cpu_us_per_point" in other and connections == 16:
                    ratios[f"cpu_per_{shape}_point"] = mine["cpu_us_per_point"] / other["cpu_us_per_point"]
            print(f"{shape} at {connections} done", file=sys.stderr)
    columns = ["load", "points/s", "MB/s", "p50 ms", "p99 ms", "CPU us/point", "memory MiB"]
    print_table(columns, [row + [""] * (len(columns) - len(row)) for row in rows])
    print_result("collector", ratios, figures, machine)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collector", description=__doc__)
    parser.add_argument(
        "--peer", help="command that serves POST /collect on $PORT, or an address http://HOST:PORT"
    )
    parser.add_argument("--connections", type=int, nargs="+", default=list(CONNECTIONS))
    parser.add_argument(
        "--shapes", nargs="+", default=list(SHAPES), help="large, small, large-gateway, small-gateway"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="measured seconds of each run")
    parser.add_argument(
        "--rounds", type=int, default=3, help="runs of each load on each server; medians count"
    )
    parser.add_argument(
        "--sync-delay-ms", type=float, default=0.0, help="delay every sync of both servers (strace)"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the servers store; a temporary folder unless given"
    )
    arguments = parser.parse_args()
    if arguments.sync_delay_ms and not shutil.which("strace"):
        parser.error("--sync-delay-ms needs strace")
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="collector-", dir=arguments.folder))
        )
        port = free_port()
        command = [sys.executable, "-m", "collector_api", "--port", str(port), "--data-dir", "data"]
        ours = stack.enter_context(
            started("flywheel", command, folder / "ours", port, arguments.sync_delay_ms)
        )
        peer = None
        if arguments.peer and arguments.peer.startswith("http://"):
            host, _, number = arguments.peer.removeprefix("http://").rstrip("/").rpartition(":")
            peer = Server("peer", host, int(number), None, None)
        elif arguments.peer:
            port = free_port()
            command = shlex.split(arguments.peer)
            peer = stack.enter_context(
                started("peer", command, folder / "peer", port, arguments.sync_delay_ms)
            )
        compare(ours, peer, arguments)


if __name__ == "__main__":
    main()
