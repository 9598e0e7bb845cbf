"""Launches runs as Dagster does, and tells the daemon which of them ended with the container or machine that they ran in.

A run is a child of a code server of the daemon, which reports it as failed when it dies. When the server dies too, nobody
does: Dagster's own launcher would take the run for a running one until its six hours are up. It would hold one of the two
places for that long, and no alarm would be posted. `dagster.yaml` names this class.
"""

import json
import socket
from pathlib import Path

from dagster import DagsterRun
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

CONNECT_SECONDS = 5.0


class WatchfulRunLauncher(DefaultRunLauncher):
    """Dagster's own launcher, able to tell whether the code server of a run is still there."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Have the daemon call `check_run_worker_health` of every run under way, once a minute."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Return NOT_FOUND, upon which the run fails, if nobody listens where its code server did; RUNNING in any doubt.

        Runs of `flywheel dagster backfill` have no code server. If a server alone was killed, its run goes on: that one
        counts as failed only until it ends.
        """
        path = json.loads(run.tags.get(GRPC_INFO_TAG, "{}")).get("socket")
        if path is not None and _is_gone(Path(path)):
            return CheckRunHealthResult(
                WorkerStatus.NOT_FOUND,
                "its process ended with the container or the machine that it ran in",
            )
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def _is_gone(path: Path) -> bool:
    """Return whether a socket is certain to have no server; one that is too busy to accept has one."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(CONNECT_SECONDS)
        try:
            client.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return True
        except OSError:
            return False
    return False
