"""Runs whose processes ended with the daemon's container or machine: real sockets, and the daemon's own loop."""

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
import pytest
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration

from flywheel_core.config import Config
from flywheel_dagster.definitions import build_defs
from flywheel_dagster.home import prepare_home
from flywheel_dagster.jobs import DAY_TABLES_JOB


@pytest.fixture
def home(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in a home as `flywheel dagster` prepares it."""
    with dg.DagsterInstance.from_config(str(prepare_home(tmp_path / "home"))) as instance:
        yield instance


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


def _started(instance: dg.DagsterInstance, tags: dict[str, str]) -> str:
    job = build_defs(Config()).resolve_job_def(DAY_TABLES_JOB)
    return instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags).run_id


def _served_at(path: Path) -> dict[str, str]:
    """Return the tag by which Dagster remembers the code server that a run is a child of."""
    return {GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": str(path)})}


def _watch(instance: dg.DagsterInstance) -> None:
    """Look after all runs once, as the daemon does every minute."""
    with create_test_daemon_workspace_context(EmptyWorkspaceTarget(), instance) as workspace:
        errors = [
            error for error in execute_run_monitoring_iteration(workspace, logging.getLogger()) if error
        ]
    assert errors == []


def test_a_run_whose_code_server_is_gone_fails(home: dg.DagsterInstance, sockets: Path) -> None:
    """After a kill the socket's file is there and nobody listens; a new container has an empty /tmp."""
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(sockets / "killed"))
        killed.listen()
    runs = [_started(home, _served_at(sockets / name)) for name in ("killed", "none")]
    _watch(home)
    for run in runs:
        found = home.get_run_by_id(run)
        assert found is not None and found.status is dg.DagsterRunStatus.FAILURE
        (failure,) = home.all_logs(run, of_type=dg.DagsterEventType.RUN_FAILURE)
        assert "its process ended with the container or the machine" in str(failure.message)


def test_a_run_that_may_be_alive_is_left_alone(home: dg.DagsterInstance, sockets: Path) -> None:
    """Its server listens, however busy it is, or it has none, as in `flywheel dagster backfill`, or no file of one."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(sockets / "busy"))
        server.listen(0)
        tags = [_served_at(sockets / "busy"), {}, {GRPC_INFO_TAG: json.dumps({"host": "h", "port": 1})}]
        runs = [_started(home, tag) for tag in tags]
        for _ in range(3):  # nobody accepts: from the second connection on, the server's queue is full
            _watch(home)
    for run in runs:
        found = home.get_run_by_id(run)
        assert found is not None and found.status is dg.DagsterRunStatus.STARTED
