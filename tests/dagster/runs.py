"""Small runs of Dagster with a date of their own, for tests."""

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

import dagster as dg


@dg.asset
def something() -> None:
    """An asset without content."""
    print("captured")  # noqa: T201


@dg.asset_check(asset=something)
def looked_at() -> dg.AssetCheckResult:
    """A check whose result the log keeps."""
    return dg.AssetCheckResult(passed=True)


def run_ended(home: Path, moment: datetime) -> str:
    """Make a run in `home`, and date it: Dagster takes no time from outside."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run = dg.materialize([something, looked_at], instance=instance).run_id
    with closing(sqlite3.connect(home / "history" / "runs.db")) as runs, runs:
        ended = moment.replace(tzinfo=None).isoformat(" ", "microseconds")
        runs.execute(
            "update runs set create_timestamp = ?, update_timestamp = ?, end_time = ? where run_id = ?",
            (ended, ended, moment.timestamp(), run),
        )
    return run
