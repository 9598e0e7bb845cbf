"""Days materialized through Dagster, in this process and in others that are killed or run at the same time."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest

from flywheel_core.config import Config, Dataset, Storage
from flywheel_core.errors import FlywheelError, StorageError, UsageError
from flywheel_core.lake.atomic import sha256_of
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import DAILY_TABLES
from flywheel_core.learn.settings import Learning
from flywheel_dagster.home import prepare_home
from flywheel_dagster.materialize import materialize_days, retrain
from flywheel_dagster.partitions import utc_now
from flywheel_dagster.resources import DayReport
from flywheel_dagster.router_assets import ROUTER_ASSETS
from tests.core.learn import toy
from tests.dagster.points import write_day

DAYS = [date(2026, 1, 5) + timedelta(days=ahead) for ahead in range(3)]
PROJECT = Path(__file__).parents[2]

PROGRAM = """
import sys
from datetime import date
from pathlib import Path
from flywheel_core.config import Config, Dataset, Storage
from flywheel_dagster.materialize import materialize_days
data, home, *days = sys.argv[1:]
config = Config(storage=Storage(data_dir=Path(data), first_day="2026-01-01"), dataset=Dataset(window_days=7))
print("ready", flush=True)
done = materialize_days(map(date.fromisoformat, days), config, Path(home), datasets="every")
print(done.failed, file=sys.stderr)
sys.exit(1 if done.failed else 0)
"""


def _config(folder: Path) -> Config:
    return Config(
        storage=Storage(data_dir=folder / "data", first_day="2026-01-01"), dataset=Dataset(window_days=7)
    )


def _process(folder: Path, home: Path) -> subprocess.Popen[str]:
    days = [day.isoformat() for day in DAYS]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder / "data"), str(home), *days],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _made(folder: Path) -> dict[str, str]:
    """Return every finished file of days and versions with its hash; what a killed run left has a hidden name or folder."""
    data = folder / "data"
    return {
        str(path.relative_to(data)): sha256_of(path)
        for pattern in ("tables/*/*", "datasets/*/*")
        for path in sorted(data.glob(pattern))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(data).parts)
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with raw files of three days in `data`, and a prepared Dagster home in `home`."""
    for day in DAYS:
        write_day(Layout(tmp_path / "data"), day, count=60)
    prepare_home(tmp_path / "home")
    return tmp_path


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The files that an undisturbed run makes of the same days, with their hashes."""
    other = tmp_path_factory.mktemp("undisturbed")
    for day in DAYS:
        write_day(Layout(other / "data"), day, count=60)
    assert not materialize_days(DAYS, _config(other), other / "home", datasets="every").failed
    made = _made(other)
    assert len(made) == 3 * len(DAILY_TABLES) + 3 * 5
    yield made


@pytest.mark.parametrize(("datasets", "made"), [("none", 0), ("last", 1), ("every", 3)])
def test_days_and_datasets_show_up_in_the_instance(folder: Path, datasets: str, made: int) -> None:
    """Runs, days and checks of this process are recorded where the UI will read them."""
    done = materialize_days(DAYS, _config(folder), folder / "home", datasets=datasets)  # type: ignore[arg-type] # one of three
    assert (done.days, done.failed) == (3, {})
    with dg.DagsterInstance.from_config(str(prepare_home(folder / "home"))) as instance:
        assert {run.run_id for run in instance.get_runs()} == set(done.runs)
        assert all(run.is_success for run in instance.get_runs())
        for table in DAILY_TABLES:
            found = instance.get_materialized_partitions(dg.AssetKey(table))
            assert found == {day.isoformat() for day in DAYS}
        assert len(instance.get_materialized_partitions(dg.AssetKey("training_dataset"))) == made
        by_the_clock = dg.AssetCheckKey(dg.AssetKey("training_dataset"), "dataset_recent")
        skipped = instance.event_log_storage.get_asset_check_execution_history(by_the_clock, limit=1)
        assert not skipped, "a check that has its own schedule is not planned here, only to be skipped"


def test_every_day_is_reported_to_the_caller(folder: Path) -> None:
    """Each day is reported as it ends, then the dataset; a bad day is reported and stops nothing."""
    bad = Layout(folder / "data").raw_file(DAYS[1])
    bad.unlink()
    bad.mkdir()
    reports: list[DayReport] = []
    done = materialize_days(DAYS, _config(folder), folder / "home", on_day=reports.append)
    assert list(done.failed) == [DAYS[1]]
    assert [(one.day, one.done, one.total, bool(one.failures)) for one in reports] == [
        (DAYS[0], 1, 3, False),
        (DAYS[1], 2, 3, True),
        (DAYS[2], 3, 3, False),
        (DAYS[2], 1, 1, False),
    ]
    assert reports[-1].assets == ("training_dataset",)


def test_of_a_last_day_that_failed_no_dataset_is_made(folder: Path) -> None:
    """It would be made from what an earlier run left of that day, or without it."""
    bad = Layout(folder / "data").raw_file(DAYS[1])
    bad.unlink()
    bad.mkdir()
    done = materialize_days(DAYS[:2], _config(folder), folder / "home")
    assert (list(done.failed), len(done.runs)) == ([DAYS[1]], 1)
    assert not Layout(folder / "data").datasets.exists()


def test_a_router_is_trained_through_dagster_too(folder: Path) -> None:
    """It is evaluated and promoted as in a nightly run."""
    last = toy.days(2)[-1]
    home = folder / "home"
    config = toy.config(folder / "toy").model_copy(
        update={
            "learning": Learning(trees=10, dimensions=8, min_examples=100),
            "storage": Storage(data_dir=folder / "toy", first_day=str(toy.FIRST)),
        }
    )
    for day in toy.days(2):
        toy.make_day(Layout(folder / "toy"), config, day, 600)
    materialize_days([last], config, home)
    night = retrain(last, config, home)
    assert (night.verdict, night.champion) == ("promoted", night.challenger)
    assert "lower bound" in night.reason
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for asset in ROUTER_ASSETS:
            assert instance.get_latest_materialization_event(dg.AssetKey(asset)) is not None


def test_retraining_without_a_dataset_says_why(folder: Path) -> None:
    with pytest.raises(FlywheelError, match="there is no dataset of 2026-01-05 to train on") as caught:
        retrain(DAYS[0], _config(folder), folder / "home")
    assert caught.value.code == "run_failed"


def test_a_gap_between_days_makes_two_runs(folder: Path) -> None:
    """Days that were not asked for are not made."""
    done = materialize_days([DAYS[0], DAYS[2], DAYS[0]], _config(folder), folder / "home", datasets="none")
    assert (done.days, len(done.runs)) == (2, 2)
    assert Layout(folder / "data").table_days("responses") == [DAYS[0], DAYS[2]]


def test_days_without_a_partition_are_refused(folder: Path) -> None:
    """Before the first day and after today nothing is made, and the message says what to do."""
    tomorrow = utc_now().date() + timedelta(days=1)
    for day, hint in ((date(2025, 12, 31), r"set storage\.first_day"), (tomorrow, "once it has begun")):
        with pytest.raises(UsageError, match=hint):
            materialize_days([DAYS[0], day], _config(folder), folder / "home")
    assert not (folder / "data" / "tables").exists()


def test_a_home_that_cannot_be_written_is_named(folder: Path) -> None:
    """A database that was overwritten stands in for a disk that fills up."""
    home = prepare_home(folder / "home")
    (home / "history" / "runs.db").write_text("no database, but as long as the beginning of one" * 40)
    with pytest.raises(StorageError, match=r"cannot use its databases in .*home"):
        materialize_days(DAYS[:1], _config(folder), home)


def test_sigterm_has_the_same_effect_afterwards_as_before(folder: Path) -> None:
    """Where SIGINT is ignored, as in a background process of a shell, Dagster alone would leave SIGTERM ignored too."""
    code = PROGRAM.replace("sys.exit", "print(signal.getsignal(signal.SIGTERM))\nsys.exit")
    code = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + code
    command = [sys.executable, "-c", code, str(folder / "data"), str(folder / "home"), DAYS[0].isoformat()]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.splitlines()[-1] == str(signal.SIG_DFL), done.stderr


def test_a_run_that_is_killed_and_repeated_gives_the_same_bytes(
    folder: Path, expected: dict[str, str]
) -> None:
    """Three runs are killed with SIGKILL at random moments; the fourth runs to its end."""
    moments = random.Random(7)
    for _ in range(3):
        process = _process(folder, folder / "home")
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(1.0, 4.0))
        process.kill()
        process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0)
        half = _made(folder)
        assert half.items() <= expected.items(), "what is there is whole"
    last = _process(folder, folder / "home")
    _, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors
    assert _made(folder) == expected


def test_two_runs_of_the_same_days_at_once_give_the_same_bytes(
    folder: Path, expected: dict[str, str]
) -> None:
    """Both succeed, and together leave the files of a single run."""
    both = [_process(folder, folder / "home"), _process(folder, folder / "home")]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert _made(folder) == expected
