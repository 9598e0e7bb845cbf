"""Memory and open files of a server process, and bare connections to it."""

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
MOST_GROWTH = 64 * MIB
"""How much a server's memory may grow while it is abused."""


@dataclass
class Growth:
    """Bytes that a process's resident memory grew by, from `before`: `peak` at any moment of the block, `kept` at its end."""

    pid: int
    before: int
    peak: int = 0
    kept: int = 0

    @property
    def present(self) -> int:
        return _kib(self.pid, "VmRSS") * 1024 - self.before

    @property
    def peak_mib(self) -> float:
        return self.peak / MIB


@contextlib.contextmanager
def memory_of(pid: int) -> Iterator[Growth]:
    """Measures what happens in the block; its figures are there at its end."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak counts from now on
    growth = Growth(pid, _kib(pid, "VmRSS") * 1024)
    yield growth
    growth.peak = _kib(pid, "VmHWM") * 1024 - growth.before
    growth.kept = growth.present


def open_files(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def exchange(port: int, *packets: bytes, seconds: float = 20.0) -> bytes:
    """Send bytes, in one packet or in several, and give all that comes until the server closes; TimeoutError when it never does."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        with contextlib.suppress(OSError):  # refused while this was still sending
            for packet in packets:
                connection.sendall(packet)
                time.sleep(0.02)
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65_536):
                received += piece
    return received


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def _kib(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise AssertionError(f"no {name} of process {pid}")
