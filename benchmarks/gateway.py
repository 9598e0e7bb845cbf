"""`python -m benchmarks.gateway`: what the gateway adds to a model's answer, compared with LiteLLM.

Both run in front of the same model alternately, with complete answers and streams, for several rounds;
figures are medians over rounds. Requests per core are requests per second of CPU time of the gateway's
process. After that it measures by how much collecting every request, at 20 requests/s, delays users, with
five models, a scorer and a real collector.

The first time, LiteLLM is installed from the package index into its own virtual environment; `--no-litellm`
leaves it out.
"""

import argparse
import contextlib
import tempfile
from pathlib import Path

import uvloop

from benchmarks.common import (
    cpu_seconds,
    machine_info,
    middle,
    percentile,
    print_result,
    print_table,
)
from benchmarks.gateway_servers import KEY, Running, flywheel, listening, litellm, model
from benchmarks.gateway_users import Timing, busy, request, steady

COLLECT_RATE = 20.0
Figures = dict[str, float]


def measure(running: Running, *, stream: bool, users: int, seconds: float) -> Figures:
    """Measure one round: latency with one user, then throughput and CPU time with many."""
    message = request("qwen-max", KEY, stream=stream)
    uvloop.run(busy(running.port, message, 2, 1.0))
    alone = uvloop.run(busy(running.port, message, 1, seconds))
    figures = {"p50_ms": ms(alone, 0.5), "p99_ms": ms(alone, 0.99)}
    before = 0.0 if running.process is None else cpu_seconds(running.process)
    many = uvloop.run(busy(running.port, message, users, seconds))
    figures["requests_per_s"] = len(many.latencies) / many.seconds
    if running.process is not None:
        used = cpu_seconds(running.process) - before
        figures["requests_per_core"] = len(many.latencies) / used
    return figures


def measure_collecting(plain: Running, collecting: Running, seconds: float) -> Figures:
    """Measure one round of the same steady traffic without and with collecting; return the added ms."""
    message = request("auto", KEY, stream=False)
    figures: Figures = {}
    for running in (plain, collecting):
        uvloop.run(steady(running.port, message, COLLECT_RATE, 1.0))
        timing = uvloop.run(steady(running.port, message, COLLECT_RATE, seconds))
        figures |= {f"{running.name}_p50_ms": ms(timing, 0.5), f"{running.name}_p99_ms": ms(timing, 0.99)}
    for share in ("p50", "p99"):
        added = figures[f"{collecting.name}_{share}_ms"] - figures[f"{plain.name}_{share}_ms"]
        figures[f"added_{share}_ms"] = added
    return figures


def ms(timing: Timing, share: float) -> float:
    """Return a percentile of the latencies in ms."""
    return percentile(timing.latencies, share) * 1000


def compare(arguments: argparse.Namespace, folder: Path) -> dict[str, Figures]:
    """Return medians for the model alone, Flywheel's gateway and LiteLLM, complete and streamed."""
    rounds: dict[str, list[Figures]] = {}
    with contextlib.ExitStack() as stack:
        model_port = stack.enter_context(model(folder, arguments.model_ms))
        servers = [
            Running("model", model_port, None),
            stack.enter_context(flywheel(folder, model_port, None)),
        ]
        if arguments.litellm:
            servers.append(stack.enter_context(litellm(folder, model_port)))
        for _ in range(arguments.rounds):
            for stream in (False, True):
                for running in servers:
                    found = measure(running, stream=stream, users=arguments.users, seconds=arguments.seconds)
                    kind = "stream" if stream else "whole"
                    rounds.setdefault(f"{running.name} {kind}", []).append(found)
    medians = {name: middle(runs) for name, runs in rounds.items()}
    for name, figures in medians.items():
        kind = name.rpartition(" ")[2]
        for share in ("p50_ms", "p99_ms"):
            figures[f"added_{share}"] = figures[share] - medians[f"model {kind}"][share]
    return medians


def collect(arguments: argparse.Namespace, folder: Path) -> Figures:
    """Return medians over rounds of what collecting adds."""
    with (
        model(folder, arguments.model_ms) as model_port,
        listening("collector", "collector_api", folder, "--data-dir", str(folder / "collected")) as collector,
        flywheel(folder, model_port, None) as plain,
        flywheel(folder, model_port, collector.port) as collecting,
    ):
        seconds = arguments.seconds * 3
        found = middle(measure_collecting(plain, collecting, seconds) for _ in range(arguments.rounds))
    stored = sum(file.read_bytes().count(b"\n") for file in (folder / "collected" / "raw").glob("*.jsonl"))
    return {**found, "points_stored": float(stored)}


def main() -> None:
    """Read the command line, measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--model-ms", type=float, default=50.0, help="delay of the model's answer")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--users", type=int, default=32, help="users at once when throughput is measured")
    parser.add_argument("--no-litellm", dest="litellm", action="store_false", help="leave LiteLLM out")
    arguments = parser.parse_args()
    machine = machine_info()
    with tempfile.TemporaryDirectory() as name:
        compared = compare(arguments, Path(name))
        collecting = collect(arguments, Path(name))
    columns = ("p50_ms", "p99_ms", "added_p50_ms", "added_p99_ms", "requests_per_s", "requests_per_core")
    print_table(
        ("", *columns),
        [(name, *(row.get(column, "-") for column in columns)) for name, row in compared.items()],
    )
    print()
    print_table(("collecting at 20 requests/s", "ms"), list(collecting.items()))
    ratios = {
        "collect_added_p50_ms": collecting["added_p50_ms"],
        "collect_added_p99_ms": collecting["added_p99_ms"],
    }
    if arguments.litellm:
        kinds = ("whole", "stream")
        ours, theirs = (
            [compared[f"{name} {kind}"] for kind in kinds] for name in ("flywheel-plain", "litellm")
        )
        pairs = list(zip(ours, theirs, strict=True))
        # The worse ratio of complete answers and streams counts.
        ratios["litellm_requests_per_core"] = min(
            a["requests_per_core"] / b["requests_per_core"] for a, b in pairs
        )
        ratios["litellm_added_p50"] = max(a["added_p50_ms"] / b["added_p50_ms"] for a, b in pairs)
    print_result("gateway", ratios, {**compared, "collecting": collecting}, machine)


if __name__ == "__main__":
    main()
