"""A collector from start to end: one process per set of files, orderly shutdown, and SIGKILL."""

import contextlib
import json
import random
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from flywheel_core.collect.rescore import RESCORED_WRITER
from flywheel_core.errors import PointError
from flywheel_core.wire import decode_point

from .conftest import Process, Start, body_of, point

HEAD = b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def test_the_first_line_of_output_has_the_address(collector: Process) -> None:
    assert collector.address.startswith("http://127.0.0.1:")
    assert collector.client.get("/ready").text == "ready"


def test_a_second_process_on_the_same_files_is_refused(launch: Start, tmp_path: Path) -> None:
    first = launch(tmp_path / "data")
    with pytest.raises(RuntimeError, match=r"(?s)status 2.*another collector writes to.*--writer"):
        launch(tmp_path / "data")
    second = launch(tmp_path / "data", arguments=("--writer", "east"))
    first.collect(point(1))
    second.collect(point(2))
    assert first.stop() == second.stop() == 0
    stems = {
        path.name.split(".", 1)[1]: path.read_text() for path in (tmp_path / "data" / "raw").glob("*.jsonl")
    }
    assert {ending: json.loads(text)["id"] for ending, text in stems.items()} == {
        "jsonl": "p-1",
        "east.jsonl": "p-2",
    }


@pytest.mark.parametrize("writer", ["", "7", "a/b", "a.b", "x" * 65, RESCORED_WRITER])
def test_an_invalid_writer_name_is_refused(launch: Start, writer: str) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)status 2.*cannot name a writer"):
        launch(arguments=(f"--writer={writer}",))


def test_an_address_in_use_is_an_error_at_start(launch: Start) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(RuntimeError, match=r"(?s)status 2.*cannot listen on"):
            launch(arguments=("--port", str(other.getsockname()[1])))


@pytest.mark.parametrize("port", ["70000", "-1"])
def test_an_invalid_port_is_refused(launch: Start, port: str) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)status 2.*cannot listen on .*0 to 65535"):
        launch(arguments=(f"--port={port}",))


NOT_UNDER_NOHUP = pytest.mark.skipif(
    signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, reason="a server under nohup goes on"
)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=NOT_UNDER_NOHUP)])
def test_a_signal_lets_running_requests_finish_and_ends_the_process(
    launch: Start, number: signal.Signals
) -> None:
    one = launch()
    content = body_of(point(1))
    with one.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(content) + content[:-3])
        assert one.collect(point(2)).status_code == 200
        one.process.send_signal(number)
        for _ in range(500):
            if "draining" in one.log.read_text():
                break
            time.sleep(0.02)
        connection.sendall(content[-3:])
        answer = connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
        assert one.process.wait(30) == 0
    assert sorted(line["id"] for line in one.raw()) == ["p-1", "p-2"]
    assert all(path.read_bytes()[-2:] == b"}\n" for path in (one.data / "raw").glob("*.jsonl"))


def test_sigterm_ends_it_even_with_stuck_clients(launch: Start) -> None:
    one = launch(drain_timeout=1.0)
    stuck = []
    for sent in (
        b"",
        b"POST /col",
        HEAD,
        HEAD + b"Content-Length: 10\r\n\r\n{",
        b"GET /metrics HTTP/1.1\r\n\r\n" * 5_000,
    ):
        connection = one.connect()
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            connection.send(sent)
        stuck.append(connection)
    assert one.collect(point(1)).status_code == 200
    assert one.stop() == 0
    for connection in stuck:
        connection.close()


def test_opened_and_dropped_connections_leave_nothing_behind(launch: Start) -> None:
    one = launch()
    one.collect(point(1))
    files = len(list(Path(f"/proc/{one.process.pid}/fd").iterdir()))
    for number in range(1_000):
        with one.connect() as connection:
            if number % 2:
                connection.sendall(HEAD)
    assert connections_become(one, 1)
    assert len(list(Path(f"/proc/{one.process.pid}/fd").iterdir())) <= files + 1


def test_open_connections_are_counted(collector: Process) -> None:
    with collector.connect(), collector.connect():
        assert connections_become(collector, 3)
    assert connections_become(collector, 1)


def connections_become(one: Process, count: int) -> bool:
    """Return whether the metric of open connections gets to `count`, asked on one connection, within 500 looks."""
    line = f"flywheel_collector_connections {float(count)}"
    for _ in range(500):
        if line in one.client.get("/metrics").text.splitlines():
            return True
        time.sleep(0.02)
    return False


def send_until_killed(one: Process, sender: int, acknowledged: set[str]) -> None:
    """Upload batches with unique ids until the collector is gone; add the ids that it acknowledged to `acknowledged`."""
    with httpx.Client(base_url=one.address, timeout=30) as client:
        for number in range(10**6):
            points = [point(0, id=f"{one.process.pid}-{sender}-{number}-{item}") for item in range(5)]
            try:
                if client.post("/collect", content=body_of(*points)).status_code == 200:
                    acknowledged.update(item["id"] for item in points)
            except httpx.HTTPError:
                return


def test_acknowledged_points_survive_sigkill(
    launch: Start, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rounds = request.config.getoption("--kill-rounds")
    draw = random.Random(rounds)
    acknowledged: set[str] = set()
    for _ in range(rounds):
        one = launch(tmp_path / "data")
        senders = [
            threading.Thread(target=send_until_killed, args=(one, sender, acknowledged))
            for sender in range(4)
        ]
        for sender in senders:
            sender.start()
        time.sleep(draw.uniform(0.05, 0.4))
        one.process.kill()
        for sender in senders:
            sender.join()
    launch(tmp_path / "data").stop()
    stored: Counter[str] = Counter()
    torn = 0
    for path in (tmp_path / "data" / "raw").glob("*.jsonl"):
        content = path.read_bytes()
        assert content.endswith(b"\n")
        assert b"\n\n" not in content
        for line in content[:-1].split(b"\n"):
            try:
                stored[decode_point(line).id] += 1
            except PointError:
                torn += 1
    assert acknowledged
    assert acknowledged <= set(stored)
    assert max(stored.values()) == 1
    assert torn <= rounds


def test_a_signal_right_after_the_start_is_not_lost(launch: Start) -> None:
    """Whoever reads the address may signal the process at once, before uvicorn has installed its own handlers."""
    for _ in range(8):
        assert launch().stop() == 0
