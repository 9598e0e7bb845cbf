"""`flywheel dagster dev|webserver` on an address that is taken. What they start is tested in `tests/system/`."""

import socket
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize("command", ["dev", "webserver"])
def test_a_taken_port_is_said_before_anything_starts(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """A second UI by mistake: no home is made, and no daemon runs twice for half a minute."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    started: list[object] = []
    monkeypatch.setattr("os.execve", lambda *program: started.append(program))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("dagster", command, "--port", str(port))
    assert result.exit_code == 2
    assert f"error[usage_invalid]: cannot listen on 127.0.0.1:{port}: Address already in use" in result.stderr
    assert "choose another --port" in result.stderr
    assert started == []
    assert not (tmp_path / ".dagster").exists()
