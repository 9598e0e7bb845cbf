"""Measure a server process's memory and open files, and exchange bytes with it over bare connections."""

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
MOST_GROWTH = 64 * MIB
"""How much a server's memory may grow while it is abused, in bytes."""


@dataclass
class Growth:
    """Growth of a process's resident memory over `before`, in bytes: `peak` within the block, `kept` at its end."""

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
    """Measure the memory of a process during the block; `peak` and `kept` are set when it ends."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # resets the peak to the present size
    growth = Growth(pid, _kib(pid, "VmRSS") * 1024)
    yield growth
    growth.peak = _kib(pid, "VmHWM") * 1024 - growth.before
    growth.kept = growth.present


def open_files(pid: int) -> int:
    """Return how many files and sockets a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def exchange(port: int, *packets: bytes, seconds: float = 20.0) -> bytes:
    """Send packets, and return everything received until the server closes the connection.

    Raises TimeoutError when the server neither sends nor closes for `seconds`.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        with contextlib.suppress(OSError):  # refused before all of it was sent
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
