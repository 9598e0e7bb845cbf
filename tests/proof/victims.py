"""Processes to be killed, such as collector and uploader, and senders that remember what was acknowledged."""

import contextlib
import http.client
import itertools
import json
import random
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

STRACE = shutil.which("strace")


def free_port(choose: random.Random) -> int:
    """Return a free port outside the range for outgoing connections, so that none gets it while its owner is down."""
    for _ in range(100):
        port = choose.randint(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port found")


def under_strace(call: str, when: int | str, what: str, paths: tuple[Path, ...] = ()) -> list[str]:
    """Return the command prefix with which strace injects `what` at the `when`-th system call `call` of a thread.

    With `paths`, only calls on these count.
    """
    assert STRACE is not None
    only = [word for path in paths for word in ("-P", str(path))]
    inject = f"inject={call}:{what}:when={when}"
    return [STRACE, "-f", "-qq", "-o", "/dev/null", *only, "-e", f"trace={call}", "-e", inject]


class Victim:
    """A process to kill, under strace if `before` says so.

    first: its first line on standard output, b"" if it died before; later lines are passed to `told`.
    """

    def __init__(
        self,
        command: list[str],
        log: Path,
        before: list[str] | None = None,
        told: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [*(before or []), sys.executable, *command], stdout=subprocess.PIPE, stderr=errors
            )
        assert self.process.stdout is not None
        self._output = self.process.stdout
        self._traced = bool(before)
        self._told = told
        self.first = self._output.readline()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self._output:
            self._told(line)
        self._output.close()

    def dies_by_itself(self, seconds: float) -> bool:
        """Wait at most `seconds`, and return whether it has died."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.returncode is not None

    def kill(self) -> None:
        """Send SIGKILL, and wait for the end."""
        for own in self._own():
            own.kill()
        self._gone()

    def stop(self) -> int:
        """Send SIGTERM, wait for the end, and return the exit status."""
        for own in self._own():
            own.terminate()
        return self._gone()

    def _own(self) -> list[psutil.Process]:
        """Return the process itself without the strace around it; nothing once it is dead."""
        if self.process.poll() is not None:
            return []
        started = psutil.Process(self.process.pid)
        return started.children() if self._traced else [started]

    def _gone(self) -> int:
        status = self.process.wait(30)
        self._reader.join(30)
        return status


class Sender:
    """Posts batches until `end`, repeating each until it is answered with 200. acknowledged: the ids in those batches."""

    def __init__(self, name: str, port: int) -> None:
        self.acknowledged: list[str] = []
        self._name = name
        self._port = port
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop posting, and wait for the answer to the current request."""
        self._ending.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        for batch in self._batches():
            body = json.dumps({"data_points": batch})
            while not self._acknowledged(body):
                if self._ending.wait(0.02):
                    return
            self.acknowledged += [point["id"] for point in batch]
            if self._ending.wait(0.01):
                return

    def _acknowledged(self, body: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("POST", "/collect", body, {"content-type": "application/json"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        choose = random.Random(self._name)
        numbers = itertools.count()
        while True:
            yield [point(f"{self._name}-{next(numbers)}") for _ in range(choose.randint(1, 40))]


def point(name: str, **changes: Any) -> dict[str, Any]:
    """Return a data point, as sent to the collector, that becomes an example."""
    models = {"big": 0.9, "coder": 0.25}
    return {
        "id": name,
        "question": f"question {name}",
        "responses": {model: {"model": model, "answer": f"answer of {model}"} for model in models},
        "scores": models,
        "timestamp": 1_767_225_600,
        **changes,
    }
