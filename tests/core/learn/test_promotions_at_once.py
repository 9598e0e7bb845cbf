"""Promotions by several processes, and processes killed in the middle of one: one whole version is in service."""

import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from flywheel_core.learn.champion import LOCK, read_champion
from flywheel_core.learn.registry import Registry
from tests.core.learn.folders import SINCE, load, promote, registry


def _promote_often(root: Path, versions: list[str], times: int) -> None:
    found = registry(root)
    for turn in range(times):
        promote(found, versions[turn % len(versions)])


def test_a_promotion_locks_out_all_others(tmp_path: Path) -> None:
    found = registry(tmp_path, "a", "b")
    refused = []

    def verify_while_another_one_tries(folder: Path) -> None:
        load(folder)
        with (found.layout.routers / LOCK).open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                refused.append(folder.name)

    busy = Registry(found.layout, verify_while_another_one_tries)
    promote(busy, "a")
    promote(busy, "b")
    busy.rollback(by="tests", reason="worse", since=SINCE)
    assert refused == ["a", "b", "a"]


def test_two_promoters_at_once_leave_one_unbroken_history(tmp_path: Path) -> None:
    versions = ["a", "b", "c"]
    found = registry(tmp_path, *versions)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_promote_often, args=(tmp_path, versions, 20)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert [record.entry.sequence for record in found.history()] == list(range(1, 41))
    assert all(record.took_effect for record in found.history())


FOREVER = """
import sys
from pathlib import Path
from tests.core.learn.folders import registry
found = registry(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    for version in ("a", "b", "c"):
        found.promote(version, kind="promoted", by="tests", reason="better", since=None)
"""


def test_fifty_kills_in_the_middle_of_promotions_leave_one_whole_version_in_service(tmp_path: Path) -> None:
    found = registry(tmp_path, "a", "b", "c")
    promote(found, "a")
    for kill in range(50):
        process = subprocess.Popen(
            [sys.executable, "-c", FOREVER, str(tmp_path)],
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.0007 * kill)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        champion = read_champion(found.pointer)
        assert champion is not None
        assert load(tmp_path / "routers" / champion.version) == champion.version
        history = found.history()
        assert sum(record.in_service for record in history) == 1
        assert [record.entry.version for record in history if record.in_service] == [champion.version]
    assert promote(found, "b").version == "b"
    assert not list((tmp_path / "routers").glob(".*promoted*"))
