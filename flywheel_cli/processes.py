"""Child processes of the demo: start each and wait until it answers, and end each with all its children."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from flywheel_core.config_file import environment_without_settings
from flywheel_core.errors import FlywheelError

POLL_SECONDS = 0.1
END_SECONDS = 12.0
LOG_TAIL_LINES = 15


class ServiceError(FlywheelError):
    """A service did not start, ended by itself, or stopped answering."""

    code = "service_failed"


@dataclass(frozen=True)
class Service:
    """One running child: its name, its address and its log file."""

    name: str
    address: str
    log: Path
    process: subprocess.Popen[bytes]


class Services:
    """Starts services, and ends them in reverse order when the block ends, for whatever reason.

    If a service stops answering within the block, for instance because a laptop was asleep, httpx's error
    becomes a ServiceError.
    """

    def __init__(self, log_folder: Path) -> None:
        self._log_folder = log_folder
        self._running: list[Service] = []
        self._ended = False
        self._turn = threading.Lock()
        """Held while a process is made: a thread that Ctrl-C overtakes must not start one that nobody ends."""

    def __enter__(self) -> Self:
        self._log_folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        if isinstance(error, httpx.HTTPError):
            raise ServiceError(
                f"a service no longer answers: {type(error).__name__} {error}".rstrip(),
                hint=f"what the services said is in {self._log_folder}",
            ) from error

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        address: str,
        ready: str,
        timeout: float = 60.0,
    ) -> Service:
        """Start `command` and wait until `address` + `ready` answers 200.

        Flywheel settings in this process's environment are not passed on: the demo uses the file that it
        wrote, and never the data folder of whoever tries it.

        Raises ServiceError with the end of the log when the service ends or does not answer within `timeout`
        seconds, and when `end` came first.
        """
        log = self._log_folder / f"{name}.log"
        with self._turn, log.open("wb") as output:
            if self._ended:
                raise ServiceError(f"{name} is not started: everything ends")
            process = subprocess.Popen(  # noqa: S603 - the commands are this project's own
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment_without_settings(),
                start_new_session=True,  # Ctrl-C reaches the demo, which ends its children in order
            )
            service = Service(name, address, log, process)
            self._running.append(service)
        deadline = time.monotonic() + timeout
        while not _answers(address + ready):
            if process.poll() is not None:
                raise ServiceError(f"{name} ended with status {process.returncode}:\n{_tail(log)}")
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"{name} did not answer at {address}{ready} in {timeout:.0f} s:\n{_tail(log)}"
                )
            time.sleep(POLL_SECONDS)
        return service

    def check(self) -> None:
        """Raise ServiceError if one of the services has ended by itself."""
        for service in self._running:
            if service.process.poll() is not None:
                raise ServiceError(
                    f"{service.name} ended with status {service.process.returncode}:\n{_tail(service.log)}"
                )

    def end(self) -> None:
        """End all services: SIGTERM to each process group, SIGKILL to what is left after END_SECONDS or at Ctrl-C."""
        with self._turn:
            self._ended = True
            running, self._running = self._running[::-1], []
        for service in running:
            _signal_group(service.process, signal.SIGTERM)
        deadline = time.monotonic() + END_SECONDS
        try:
            for service in running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    service.process.wait(max(0.1, deadline - time.monotonic()))
        finally:
            for service in running:
                _signal_group(service.process, signal.SIGKILL)
            for service in running:
                service.process.wait()


def free_port(preferred: int) -> int:
    """Return `preferred` if nothing listens there on loopback, else a free port. Raises ServiceError."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise ServiceError("there is no free port on the loopback interface")


def _answers(address: str) -> bool:
    try:  # directly: a proxy that the environment names cannot reach this machine's loopback
        return httpx.get(address, timeout=2.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the child's process group, which includes any children that the service has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return "\n".join(f"  {line}" for line in lines)
