"""`python -m benchmarks.fanout`: prompts/s and time per prompt of the fan-out, of plain httpx and of a peer.

Five models take 50 ms each and a scorer 20 ms: ten calls per prompt, 70 ms at best. `--peers` names a folder
with the programs `caller` and `mock`, or with a folder `out` that holds them. All callers then ask that mock,
alternately, so that changes in the machine's load affect them all.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common import free_port, machine_info, middle, print_result, print_table, wait_until_listening

Run = dict[str, float]


@contextlib.contextmanager
def process(command: list[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run a child process, and kill it at the end."""
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@contextlib.contextmanager
def services(arguments: argparse.Namespace, certificate: Path | None) -> Iterator[str]:
    """Run the models and the scorer; yields their address."""
    mock = peer(arguments.peers, "mock")
    if mock is not None and certificate is None and not arguments.chunked:
        port = free_port()
        delays = {"CHAT_MS": str(arguments.model_ms), "EVAL_MS": str(arguments.scorer_ms)}
        with process([str(mock)], {"PORT": str(port), **delays}) as child:
            wait_until_listening(port, child, seconds=10)
            yield f"http://127.0.0.1:{port}"
        return
    command = [sys.executable, "-m", "benchmarks.services"]
    command += ["--model-ms", str(arguments.model_ms), "--scorer-ms", str(arguments.scorer_ms)]
    command += ["--chunked"] if arguments.chunked else []
    command += ["--certificate", str(certificate)] if certificate else []
    with process(command) as child:
        if child.stdout is None or not (line := child.stdout.readline()):
            raise SystemExit("the services did not start")
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{int(line)}"


def peer(folder: Path | None, name: str) -> Path | None:
    """Return the path of a program in the peers' folder, None without a folder. Raises FileNotFoundError."""
    if folder is None:
        return None
    for place in (folder / name, folder / "out" / name):
        if place.is_file():
            return place
    raise FileNotFoundError(f"{folder} holds no program {name}, nor does its folder out")


def run_ours(name: str, address: str, in_flight: int, seconds: float, certificate: Path | None) -> Run:
    """Run a caller of `benchmarks.callers` once."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.callers", name, address]
    command += ["--in-flight", str(in_flight), "--seconds", str(seconds)]
    command += ["--certificate", str(certificate)] if certificate else []
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: Run = json.loads(output.splitlines()[-1])
    return result


def run_reference(program: Path, address: str, in_flight: int, seconds: float) -> Run:
    """Run the reference caller once."""
    environment = {**os.environ, "PORT": address.rpartition(":")[2]}
    command = [str(program), str(in_flight), str(seconds)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    found = json.loads(output.splitlines()[-1])
    return {
        "prompts_per_s": found["n"] / found["sec"],
        "p50_ms": found["p50"],
        "p99_ms": found["p99"],
        "cpu_us_per_call": found["cpu"] / found["n"] / 10 * 1e6,
        "failed": found["bad"],
    }


def compare(arguments: argparse.Namespace, address: str, certificate: Path | None) -> None:
    """Run every caller at every load, alternately; print medians, ratios and figures."""
    reference = None if certificate or arguments.chunked else peer(arguments.peers, "caller")
    ideal = arguments.model_ms + arguments.scorer_ms
    machine = machine_info()
    rows: list[list[object]] = []
    ratios: dict[str, float] = {}
    figures: dict[str, Run] = {}
    for in_flight in arguments.in_flight:
        runs: dict[str, list[Run]] = {}
        for _ in range(arguments.rounds):
            for name in ["flywheel", *arguments.callers]:
                run = run_ours(name, address, in_flight, arguments.seconds, certificate)
                runs.setdefault(name, []).append(run)
            if reference is not None:
                run = run_reference(reference, address, in_flight, arguments.seconds)
                runs.setdefault("reference", []).append(run)
        medians = {name: middle(found) for name, found in runs.items()}
        for name, found in medians.items():
            figures[f"{name}_{in_flight}"] = {key: round(value, 2) for key, value in found.items()}
            rows.append([f"{name}, {in_flight} in flight", *(found[key] for key in COLUMNS.values())])
        ours = medians["flywheel"]
        if "httpx" in medians:
            ratios[f"httpx_{in_flight}"] = ours["prompts_per_s"] / medians["httpx"]["prompts_per_s"]
        if "reference" in medians:
            ratios[f"reference_{in_flight}"] = ours["p50_ms"] / medians["reference"]["p50_ms"]
            share = ours["prompts_per_s"] / medians["reference"]["prompts_per_s"]
            ratios[f"reference_throughput_{in_flight}"] = share
        ratios[f"over_ideal_ms_{in_flight}"] = ours["p50_ms"] - ideal
    print_table(["caller", *COLUMNS], rows)
    print_result("fanout", ratios, figures, machine)


COLUMNS = {
    "prompts/s": "prompts_per_s",
    "p50 ms": "p50_ms",
    "p99 ms": "p99_ms",
    "CPU us/call": "cpu_us_per_call",
    "failed": "failed",
}


@contextlib.contextmanager
def own_certificate(wanted: bool) -> Iterator[Path | None]:
    """Make a certificate for 127.0.0.1, with its key, in a PEM file, using the openssl command."""
    if not wanted:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="fanout-") as folder:
        key, certificate = Path(folder, "key.pem"), Path(folder, "certificate.pem")
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
            f" -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
            f" -addext basicConstraints=critical,CA:FALSE -keyout {key} -out {certificate}"
        )
        subprocess.run(command.split(), check=True, capture_output=True)
        both = Path(folder, "both.pem")
        both.write_bytes(key.read_bytes() + certificate.read_bytes())
        yield both


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fanout", description=__doc__)
    parser.add_argument("--peers", type=Path, help="folder with the reference caller and its mock")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--callers", nargs="*", default=["httpx"], help="httpx, httpx-pyreqwest, pyreqwest")
    parser.add_argument("--seconds", type=float, default=4.0, help="measured seconds of each run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; medians count")
    parser.add_argument("--model-ms", type=float, default=50.0)
    parser.add_argument("--scorer-ms", type=float, default=20.0)
    parser.add_argument("--chunked", action="store_true", help="chunked replies, from our own services")
    parser.add_argument("--tls", action="store_true", help="https, from our own services")
    arguments = parser.parse_args()
    try:
        for name in ("caller", "mock"):
            peer(arguments.peers, name)
    except FileNotFoundError as error:
        parser.error(str(error))
    with own_certificate(arguments.tls) as certificate, services(arguments, certificate) as address:
        compare(arguments, address, certificate)


if __name__ == "__main__":
    main()
