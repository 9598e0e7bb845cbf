"""Real collector processes on free ports, reached with an HTTP client or with bare sockets that can misbehave."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml


def point(number: int, **changes: Any) -> dict[str, Any]:
    """Return a valid data point whose id and question contain `number`; `changes` replace or add fields."""
    return {
        "id": f"p-{number}",
        "question": f"question {number}",
        "responses": {"qwen-max": {"model": "qwen-max", "answer": "yes"}},
        "scores": {"qwen-max": 0.9},
        "timestamp": 1_767_225_600,
        **changes,
    }


def body_of(*points: Any, **more: Any) -> bytes:
    """Return the JSON body of a batch; `more` adds fields beside `data_points`."""
    return json.dumps({"data_points": points, **more}).encode()


def lines_of(folder: Path, pattern: str = "*.jsonl") -> list[dict[str, Any]]:
    """Return every complete line of the matching files in a folder, decoded.

    Skips the empty lines that pad a file's last block, and a last line without newline, which is still being written.
    """
    return [
        json.loads(line)
        for path in sorted(folder.glob(pattern))
        for line in path.read_bytes().split(b"\n")[:-1]
        if line
    ]


@dataclass
class Process:
    """A running collector process. `data` is its data folder, `log` the file of its standard error."""

    process: subprocess.Popen[str]
    address: str
    data: Path
    log: Path
    client: httpx.Client = field(repr=False)

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def collect(self, *points: Any, **options: Any) -> httpx.Response:
        """Send a batch as JSON."""
        headers = {"content-type": "application/json", **options.pop("headers", {})}
        content = options.pop("content", None) or body_of(*points)
        return self.client.post("/collect", content=content, headers=headers, **options)

    def raw(self) -> list[dict[str, Any]]:
        return lines_of(self.data / "raw")

    def rejected(self) -> list[dict[str, Any]]:
        return lines_of(self.data / "rejected")

    def metric(self, name: str) -> float:
        """Return the value of one sample of /metrics, 0 when it is not there.

        Opens a new connection, because a deadline of the test may have closed the client's.
        """
        for line in httpx.get(f"{self.address}/metrics", timeout=30).text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def connect(self) -> socket.socket:
        """Open a bare TCP connection, with a time-out of 30 s."""
        return socket.create_connection(("127.0.0.1", self.port), 30)

    def stop(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


Start = Callable[..., Process]


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start collectors with `launch(data, **settings)`, settings of the section `collector`.

    `arguments` are added to the command line, `storage` are settings of that section. Raises RuntimeError, with exit
    status and log, when the collector does not start.
    """
    running: list[Process] = []

    def start(
        data: Path | None = None,
        *,
        arguments: tuple[str, ...] = (),
        storage: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Process:
        folder = tmp_path_factory.mktemp("collector")
        data = data or folder / "data"
        config = folder / "flywheel.yaml"
        config.write_text(yaml.safe_dump({"collector": settings, "storage": storage or {}}))
        command = [sys.executable, "-m", "collector_api", "--config", str(config), "--data-dir", str(data)]
        log = folder / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [*command, "--port", "0", *arguments],
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                cwd=folder,
            )
        assert process.stdout
        first = process.stdout.readline()
        if not first:
            process.wait(30)
            process.stdout.close()
            raise RuntimeError(f"status {process.returncode}: {log.read_text()}")
        address = json.loads(first)["address"]
        found = Process(process, address, data, log, httpx.Client(base_url=address, timeout=30))
        running.append(found)
        return found

    yield start
    for item in running:
        item.client.close()
        if item.process.poll() is None:
            item.process.kill()
        item.process.wait()
        assert item.process.stdout
        item.process.stdout.close()


@pytest.fixture(scope="module")
def collector(launch: Start) -> Process:
    """One collector with default settings for a whole module."""
    return launch()
