"""The demo waits until its child processes answer, and at its end stops them with all that they started."""

import contextlib
import signal
import socket
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from flywheel_cli import processes
from flywheel_cli.processes import ServiceError, Services, free_port

PARENT_OF_A_SERVER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "http.server", "--bind", "127.0.0.1", sys.argv[1]])
child.wait()
"""


def runs(process: psutil.Process) -> bool:
    """Return whether a process still runs after 30 s."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for _ in range(600):
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            time.sleep(0.05)
        return True
    return False


def start_server(services: Services, port: int, program: str = PARENT_OF_A_SERVER) -> psutil.Process:
    service = services.start(
        "files",
        [sys.executable, "-c", program, str(port)],
        address=f"http://127.0.0.1:{port}",
        ready="/",
    )
    return psutil.Process(service.process.pid)


def test_fault_25_a_service_and_its_children_are_ended(tmp_path: Path) -> None:
    with Services(tmp_path) as services:
        process = start_server(services, free_port(0))
        family = [process, *process.children(recursive=True)]
        assert len(family) == 2
        services.check()
    assert [member for member in family if runs(member)] == []


def test_nothing_is_started_once_everything_ends(tmp_path: Path) -> None:
    """Ctrl-C in the first moment of the demo overtook the thread that was about to start a service, which then stayed."""
    with Services(tmp_path) as services:
        pass
    marker = tmp_path / "started"
    program = "import pathlib, sys; pathlib.Path(sys.argv[1]).touch()"
    with pytest.raises(ServiceError, match="late is not started"):
        services.start(
            "late",
            [sys.executable, "-c", program, str(marker)],
            address=f"http://127.0.0.1:{free_port(0)}",
            ready="/",
        )
    assert not marker.exists()


def test_a_service_gets_no_setting_of_the_person_who_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYWHEEL__STORAGE__DATA_DIR", "/srv/flywheel")
    monkeypatch.setenv("FLYWHEEL_CONFIG", "/etc/flywheel.yaml")
    monkeypatch.setenv("FLYWHEEL_TEST_KEPT", "kept")
    with Services(tmp_path) as services:
        environment = start_server(services, free_port(0)).environ()
    assert environment["FLYWHEEL_TEST_KEPT"] == "kept"
    assert "FLYWHEEL__STORAGE__DATA_DIR" not in environment
    assert "FLYWHEEL_CONFIG" not in environment


def test_a_service_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    says = "(?s)broken ended with status 1:.*no such setting"
    with Services(tmp_path) as services, pytest.raises(ServiceError, match=says):
        services.start(
            "broken",
            [sys.executable, "-c", "raise SystemExit('no such setting')"],
            address=f"http://127.0.0.1:{free_port(0)}",
            ready="/health",
        )


def test_a_service_that_does_not_answer_is_reported(tmp_path: Path) -> None:
    with Services(tmp_path) as services, pytest.raises(ServiceError, match="did not answer"):
        services.start(
            "silent",
            [sys.executable, "-c", "import time; time.sleep(600)"],
            address=f"http://127.0.0.1:{free_port(0)}",
            ready="/health",
            timeout=1.0,
        )


def test_a_service_that_ends_later_is_noticed(tmp_path: Path) -> None:
    with Services(tmp_path) as services:
        process = start_server(services, free_port(0))
        process.kill()
        process.wait()
        with pytest.raises(ServiceError, match="files ended"):
            services.check()


def test_a_service_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "END_SECONDS", 0.2)
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN){PARENT_OF_A_SERVER}"
    with Services(tmp_path) as services:
        process = start_server(services, free_port(0), deaf)
        family = [process, *process.children(recursive=True)]
    assert [member for member in family if runs(member)] == []


def test_a_second_ctrl_c_kills_what_has_not_ended(tmp_path: Path) -> None:
    """Whoever presses it does not want to wait; a service that ignores SIGTERM would stay for good."""
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN){PARENT_OF_A_SERVER}"
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), Services(tmp_path) as services:
            process = start_server(services, free_port(0), deaf)
            family = [process, *process.children(recursive=True)]
            signal.setitimer(signal.ITIMER_REAL, 1)
    finally:
        signal.signal(signal.SIGALRM, before)
    left = [member for member in family if runs(member)]
    for member in left:
        member.kill()
    assert left == []


def test_a_port_that_is_free_is_taken() -> None:
    port = free_port(0)
    assert free_port(port) == port


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port


def test_a_call_that_is_not_answered_is_a_service_error(tmp_path: Path) -> None:
    """Otherwise the demo would print 200 lines of traceback from inside its HTTP client."""
    with pytest.raises(ServiceError, match="no longer answers: ConnectError") as raised, Services(tmp_path):
        httpx.get(f"http://127.0.0.1:{free_port(0)}")
    assert str(tmp_path) in (raised.value.hint or "")
