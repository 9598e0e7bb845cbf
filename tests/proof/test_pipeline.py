"""Pipeline

Runs that are killed, run twice at once, or long: the files on disk afterwards depend only on raw files and settings.
"""

import os
import signal
import statistics
import subprocess
import sys
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from flywheel_core.config import Config, Dataset, Storage
from flywheel_core.lake.atomic import sha256_of
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import DAILY_TABLES
from flywheel_dagster.home import prepare_home
from flywheel_dagster.materialize import materialize_days
from flywheel_dagster.resources import DayReport
from tests.dagster.points import write_day
from tests.proof.conftest import Proof

FIRST = date(2025, 1, 1)
PROJECT = Path(__file__).parents[2]
ASSETS = (*DAILY_TABLES, "training_dataset")

PROGRAM = """
import os, re, signal, sys
from datetime import date
from pathlib import Path
from flywheel_core.config import Config, Dataset, Storage
from flywheel_dagster.materialize import materialize_days
folder, halt, halt_event, halt_pattern, halt_at, *days = sys.argv[1:]
left = int(halt_at)

def watch(event, arguments):
    global left
    if event == halt_event and re.search(halt_pattern, os.fsdecode(arguments[0])):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), int(halt))

if halt_event:
    sys.addaudithook(lambda event, arguments: watch(event, arguments) if event in ("open", "os.mkdir", "os.rename") else None)
config = Config(storage=Storage(data_dir=Path(folder, "data"), first_day="2025-01-01"), dataset=Dataset(window_days=7))
done = materialize_days(map(date.fromisoformat, days), config, Path(folder, "home"), datasets="every")
sys.exit(1 if done.failed else 0)
"""
"""Materializes days, and gets the signal `halt` at the n-th audit event of a kind whose path matches a pattern."""


def moments(asset: str, day: date) -> list[tuple[str, str, int]]:
    """Return audit event, path pattern and count of four moments in which an asset can be interrupted.

    They are: begun, written, about to be put in place, and in place but not yet reported.
    """
    if asset == "training_dataset":
        temporary = rf"/datasets/\.{day:%Y%m%d}-[^/]+\.tmp"
        return [
            ("os.mkdir", temporary, 1),
            ("open", temporary + r"/validation\.jsonl$", 1),
            ("os.rename", temporary, 1),
            ("open", r"/datasets$", 2),
        ]
    temporary = rf"/tables/{asset}/\.{day}\.parquet\."
    return [
        ("os.mkdir", rf"/tables/{asset}$", 1),
        ("open", temporary, 1),
        ("os.rename", temporary, 1),
        ("open", rf"/tables/{asset}$", 2),
    ]


def config_of(folder: Path) -> Config:
    return Config(
        storage=Storage(data_dir=folder / "data", first_day="2025-01-01"), dataset=Dataset(window_days=7)
    )


def start(
    folder: Path,
    days: list[date],
    moment: tuple[str, str, int] = ("", "", 0),
    halt: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[str]:
    event, pattern, count = moment
    arguments = [str(folder), str(halt.value), event, pattern, str(count), *map(str, days)]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def made(folder: Path) -> dict[str, str]:
    """Return every finished file of tables and versions with its hash; names of unfinished ones begin with a dot."""
    data = folder / "data"
    found = {}
    for pattern in ("tables/*/*", "datasets/*/*"):
        for path in sorted(data.glob(pattern)):
            name = path.relative_to(data)
            if path.is_file() and not any(piece.startswith(".") for piece in name.parts):
                found[str(name)] = sha256_of(path)
    return found


def undisturbed(folder: Path, days: list[date], count: int) -> dict[str, str]:
    """Return the files that a single undisturbed run makes of the same raw files, with their hashes."""
    write_days(folder, days, count)
    assert not materialize_days(days, config_of(folder), folder / "home", datasets="every").failed
    return made(folder)


def write_days(folder: Path, days: list[date], count: int) -> None:
    for day in days:
        write_day(Layout(folder / "data"), day, count=count)
    prepare_home(folder / "home")


@pytest.mark.proof(
    "A run that is killed and repeated gives the same bytes",
    "SIGKILL in every daily asset as it begins, is written, is put in place and is in place; then a run to the end",
)
def test_killed_in_every_asset(proof: Proof, tmp_path: Path) -> None:
    days = [FIRST + timedelta(days=ahead) for ahead in range(3)]
    expected = undisturbed(tmp_path / "undisturbed", days, 60)
    kills = 0
    for number, asset in enumerate(proof.size(("rejects", "training_dataset"), ASSETS)):
        folder = tmp_path / asset
        write_days(folder, days, 60)
        every = moments(asset, days[1])
        for moment in proof.size(every[number + 1 : number + 2], every):
            process = start(folder, days, moment)
            _, errors = process.communicate(timeout=120)
            assert process.returncode == -signal.SIGKILL, f"{moment} never came: {errors}"
            assert made(folder).items() <= expected.items(), f"{moment}: what is there is not whole"
            kills += 1
        finish(start(folder, days))
        assert made(folder) == expected
    proof.note(kills=kills, files_compared=len(expected))


@pytest.mark.proof(
    "Two runs of one day at once give the same bytes",
    "in four assets one process is stopped as it is about to put its work in place, another makes the same day, and "
    "the first goes on; and a pair that runs freely",
)
def test_two_runs_at_once(proof: Proof, tmp_path: Path) -> None:
    days = [FIRST]
    expected = undisturbed(tmp_path / "undisturbed", days, 200)
    overtaken = proof.size(
        ("responses",), ("responses", "training_examples", "quality_report", "training_dataset")
    )
    for asset in overtaken:
        folder = tmp_path / asset
        write_days(folder, days, 200)
        _, _, in_place, _ = moments(asset, FIRST)
        with start(folder, days, in_place, signal.SIGSTOP) as first:
            try:
                state = os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                assert state is not None and state.si_code == os.CLD_STOPPED, f"{in_place} never came"
                finish(start(folder, days))
            finally:
                first.send_signal(signal.SIGCONT)
            finish(first)
        assert made(folder) == expected
    pairs = proof.size(0, 1)
    for number in range(pairs):
        folder = tmp_path / f"together-{number}"
        write_days(folder, days, 200)
        for process in [start(folder, days), start(folder, days)]:
            finish(process)
        assert made(folder) == expected
    proof.note(pairs_of_runs=len(overtaken) + pairs, files_compared=len(expected))


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


@pytest.mark.proof(
    "A backfill costs the same for each day, however many there are",
    "a year through Dagster in one run; the last 30 days' median time over the first 30 days', by the clock and of processor",
)
def test_a_backfill_of_a_year(proof: Proof, tmp_path: Path) -> None:
    days = [FIRST + timedelta(days=ahead) for ahead in range(proof.size(4, 365))]
    count = proof.size(50, 1_000)
    write_days(tmp_path, days, count)
    seconds: list[float] = []
    spent = [processor_seconds()]

    def on_day(report: DayReport) -> None:
        if report.assets != ("training_dataset",):
            seconds.append(report.seconds)
            spent.append(processor_seconds())

    done = materialize_days(days, config_of(tmp_path), tmp_path / "home", on_day=on_day)
    assert (done.days, done.failed) == (len(days), {})
    layout = Layout(tmp_path / "data")
    assert all(layout.table_days(name) == days for name in DAILY_TABLES)
    assert len(seconds) == len(days)
    proof.note(days=len(days), points_a_day=count, seconds_a_day=statistics.median(seconds))
    if proof.full:
        of_processor = last_over_first([after - before for before, after in pairwise(spent)])
        proof.note(
            last_30_days_over_first_30=last_over_first(seconds), the_same_of_processor_time=of_processor
        )
        assert of_processor < 1.3, (
            "the clock's figure depends on what else the machine does, this one does not"
        )


def processor_seconds() -> float:
    """Return the CPU time in s that this process and the child processes that it has waited for have used."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def last_over_first(seconds: list[float]) -> float:
    """Return the median of the last 30 values over that of the first 30."""
    return statistics.median(seconds[-30:]) / statistics.median(seconds[:30])
