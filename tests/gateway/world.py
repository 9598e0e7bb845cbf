"""The services that a gateway under test talks to, and the gateway itself as a process."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml

from flywheel_core.collect.sampling import MARK_HEADER
from tests.gateway.scripted import Arrived, Script, ScriptedModel, completion, reply

WAIT_SECONDS = 30.0


def by_user(request: Arrived) -> bool:
    """Return whether a model's request is one that the gateway forwarded for a user, not one of collection."""
    return request.header(MARK_HEADER) != "1"


class Outside:
    """The models, the scorer and the collector, all on one socket.

    `chat` answers for every model, `score` for the scorer, and `other` on all other paths; tests replace them.
    points: the data points uploaded so far.
    """

    def __init__(self) -> None:
        self.chat: Callable[[Arrived], Script] = lambda asked: reply(
            completion(f"I am {asked.json['model']}")
        )
        self.other: Callable[[Arrived], Script] = lambda _: reply(b"{}", "404 Not Found")
        self.score: Callable[[Arrived], Script] = lambda _: reply(b'{"score": 0.75}')
        self.points: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self.server = ScriptedModel(self._answer)
        self.address = self.server.address

    def _answer(self, request: Arrived) -> Script:
        if request.path == "/v1/chat/completions":
            return self.chat(request)
        if request.path == "/v1/evaluate":
            return self.score(request)
        if request.path == "/collect":
            points = request.json["data_points"]
            with self._lock:
                self.points.extend(points)
            return reply(json.dumps({"status": "success", "count": len(points), "rejected": []}).encode())
        return self.other(request)

    def asked(self, path: str = "/v1/chat/completions") -> list[Arrived]:
        """Return the requests to a path in the order of their arrival, whatever their query strings."""
        return [request for request in self.server.requests if request.path.partition("?")[0] == path]

    def asked_by_users(self) -> list[Arrived]:
        """Return the chat completions that the gateway forwarded for its users, without those of collection."""
        return [request for request in self.asked() if by_user(request)]

    def config(self, **changes: Any) -> dict[str, Any]:
        """Return a configuration with three models, the scorer and the collector at this server's address.

        `changes` replace values by their path: `a__b` is field `b` of section `a`.
        """
        config: dict[str, Any] = {
            "data_collection": {
                "storage_endpoint": f"{self.address}/collect",
                "training": {
                    "candidate_models": ["big", "math", "code"],
                    "evaluate_endpoint": f"{self.address}/v1/evaluate",
                    "flush_interval": 0.1,
                },
            },
            "routing": {"default_model": "big"},
            "models": {
                "big": {
                    "category": "general",
                    "base_url": self.address,
                    "input_price": 1.0,
                    "output_price": 2.0,
                },
                "math": {"category": "math", "base_url": self.address},
                "code": {"category": "code", "base_url": self.address, "upstream_name": "code-v2"},
            },
            "gateway": {"port": 0},
        }
        for path, value in changes.items():
            *sections, name = path.split("__")
            at = config
            for section in sections:
                at = at.setdefault(section, {})
            at[name] = value
        return config


class NotStartedError(Exception):
    """A gateway refused to start; the message is its log."""


class RunningGateway:
    """A gateway process, running once it is constructed; `close` stops it and checks exit status and log.

    Raises NotStartedError when the gateway does not start.
    """

    def __init__(
        self, folder: Path, config: dict[str, Any], environment: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.config_file = folder / "flywheel.yaml"
        self.data = folder / "data"
        self.write_config(config)
        self._log = (folder / "gateway.log").open("ab")
        self._environment = {**os.environ, **(environment or {})}
        self.start()

    def start(self) -> None:
        arguments = ["--config", str(self.config_file), "--data-dir", str(self.data)]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "flywheel_gateway", *arguments],
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=self._environment,
            cwd=self.folder,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.wait()
            self._log.close()
            raise NotStartedError(self.log())
        self.address = json.loads(line)["address"]

    def write_config(self, config: dict[str, Any]) -> None:
        self.config_file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def log(self) -> str:
        return (self.folder / "gateway.log").read_text(encoding="utf-8")

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of the log with this event."""
        return [line for line in map(json.loads, self.log().splitlines()) if line["event"] == event]

    def chat(
        self, question: str = "1 + 1?", headers: dict[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        body = {"messages": [{"role": "user", "content": question}], **body}
        return self.post("/v1/chat/completions", body, headers)

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", **(headers or {})}
        return httpx.post(self.address + path, content=content, headers=sent, timeout=WAIT_SECONDS)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.address + path, timeout=WAIT_SECONDS)

    def metric(self, name: str) -> float:
        """Return the value of one sample of /metrics, 0 when it is not there; `name` includes its labels as printed."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").text, re.M)
        return float(found[1]) if found else 0.0

    def decisions(self) -> list[dict[str, Any]]:
        lines = [path.read_text() for path in sorted((self.data / "decisions").glob("*.jsonl"))]
        return [json.loads(line) for text in lines for line in text.splitlines()]

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        status = self.process.wait(WAIT_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            status = self.stop()
            assert status == 0, self.log()
        self._log.close()
        assert "Traceback" not in self.log(), self.log()


def until(happened: Callable[[], Any], seconds: float = WAIT_SECONDS) -> Any:
    """Wait until `happened` returns something true, and return that; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found
