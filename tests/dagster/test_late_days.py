"""The sensor for days whose raw files are new, late or rewritten: real files, and ticks on a real instance."""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from flywheel_core.config import Config
from flywheel_core.errors import UsageError
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_dagster.definitions import build_defs
from flywheel_dagster.jobs import DAY_TABLES_JOB
from flywheel_dagster.late import Asked, look, read_cursor, write_cursor
from flywheel_dagster.materialize import materialize_days
from flywheel_dagster.partitions import RANGE_END_TAG, RANGE_START_TAG, utc_now
from flywheel_dagster.resources import Lake
from tests.dagster.points import write_day

DAY = date(2026, 1, 5)
HOUR_AGO = timedelta(hours=1)


Tick = Callable[..., dg.SensorResult]


@pytest.fixture
def tick(config: Config, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Tick:
    """Tick the sensor as Dagster's daemon does: with the cursor that the tick before left, and `later` after that tick.

    reset: whether a person has reset the cursor before.
    """
    defs = build_defs(config)
    sensor = defs.resolve_sensor_def("late_days")
    cursor: list[str | None] = [None]
    time = [utc_now()]
    monkeypatch.setattr("flywheel_dagster.sensors.utc_now", lambda: time[0])

    def run(later: timedelta = timedelta(0), *, reset: bool = False) -> dg.SensorResult:
        time[0] += later
        before = None if reset else cursor[0]
        context = dg.build_sensor_context(instance, cursor=before, resources={"lake": Lake(config)})
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        cursor[0] = result.cursor
        return result

    return run


def _raw(layout: Layout, day: date, text: str = "{}\n", *, age: timedelta = HOUR_AGO) -> Path:
    path = layout.raw_file(day)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    moment = (utc_now() - age).timestamp()
    os.utime(path, (moment, moment))
    return path


def _table(layout: Layout, day: date) -> None:
    path = layout.table("quality_report", day)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"the sensor looks at the time alone")


def _asked_for(result: dg.SensorResult) -> list[tuple[str, str]]:
    return [
        (request.tags[RANGE_START_TAG], request.tags[RANGE_END_TAG]) for request in result.run_requests or []
    ]


def test_a_day_without_tables_is_asked_for_once(layout: Layout, tick: Tick) -> None:
    """A day that was imported after its nightly run is asked for by the next tick, and by that one only."""
    _raw(layout, DAY)
    assert _asked_for(tick()) == [("2026-01-05", "2026-01-05")]
    again = tick()
    assert _asked_for(again) == []
    assert "none changed" in str(again.skip_reason)


def test_a_rewritten_day_is_asked_for_again(layout: Layout, tick: Tick) -> None:
    """The name is the same and the content different: there is a new run with a new run key."""
    _raw(layout, DAY)
    first = tick()
    _table(layout, DAY)
    _raw(layout, DAY, "{}\n{}\n")
    second = tick()
    assert _asked_for(second) == [("2026-01-05", "2026-01-05")]
    assert (first.run_requests or [])[0].run_key != (second.run_requests or [])[0].run_key
    assert len(second.asset_events) == 1, "the change is recorded on raw_points"
    assert _asked_for(tick()) == []


def test_a_day_whose_run_failed_is_asked_for_again_and_then_named(layout: Layout, tick: Tick) -> None:
    """A full disk at night must not leave a day unmade for good; after three tries it is named, and left to a person."""
    _raw(layout, DAY)
    day = ("2026-01-05", "2026-01-05")
    keys = [(tick().run_requests or [])[0].run_key]
    assert _asked_for(tick(timedelta(minutes=59))) == []
    for _ in range(2):
        (request,) = tick(timedelta(minutes=61)).run_requests or []
        keys.append(request.run_key)
        assert (request.tags[RANGE_START_TAG], request.tags[RANGE_END_TAG]) == day
    assert len(set(keys)) == 3
    assert "not made" not in str(tick(timedelta(minutes=30)).skip_reason)
    given_up = tick(timedelta(hours=2))
    assert _asked_for(given_up) == []
    assert "asked for 3 times and not made: 2026-01-05" in str(given_up.skip_reason)
    _raw(layout, DAY, "{}\n{}\n")
    assert _asked_for(tick()) == [day]


def test_after_a_reset_of_the_cursor_a_day_that_failed_is_a_new_run(layout: Layout, tick: Tick) -> None:
    """Dagster passes over a run key that it knows: the day would count as asked for, and nothing would run."""
    _raw(layout, DAY)
    keys = [(tick(timedelta(hours=4), reset=True).run_requests or [])[0].run_key for _ in range(2)]
    assert keys[0] != keys[1]


def test_of_a_range_only_the_days_that_were_not_made_are_asked_for_again(layout: Layout, tick: Tick) -> None:
    """One bad day fails the run of all five, but the other four are done."""
    for day in range(1, 6):
        _raw(layout, date(2026, 1, day))
    assert _asked_for(tick()) == [("2026-01-01", "2026-01-05")]
    for day in (1, 2, 4, 5):
        _table(layout, date(2026, 1, day))
    assert _asked_for(tick(timedelta(hours=2))) == [("2026-01-03", "2026-01-03")]


def test_while_a_run_is_in_progress_nothing_is_asked_for_again(
    layout: Layout, tick: Tick, instance: dg.DagsterInstance
) -> None:
    """A run of many days takes more than an hour: the days that it has not reached yet have not failed."""
    _raw(layout, DAY)
    tick()
    run = instance.create_run_for_job(
        build_defs(Config()).resolve_job_def(DAY_TABLES_JOB), status=dg.DagsterRunStatus.STARTED
    )
    assert _asked_for(tick(timedelta(hours=2))) == []
    instance.report_run_failed(run)
    assert _asked_for(tick()) == [("2026-01-05", "2026-01-05")]


def test_a_day_that_its_nightly_run_left_half_made_is_asked_for(layout: Layout, tick: Tick) -> None:
    """The nightly run broke off after `responses`: the day has no labels yet."""
    _raw(layout, DAY)
    responses = layout.table("responses", DAY)
    responses.parent.mkdir(parents=True)
    responses.write_bytes(b"the sensor looks at the time alone")
    assert _asked_for(tick()) == [("2026-01-05", "2026-01-05")]


def test_days_before_the_first_partition_are_named(layout: Layout, tick: Tick) -> None:
    """No run makes them, and without a message nobody would know."""
    _raw(layout, date(2025, 12, 30))
    says = str(tick().skip_reason)
    assert "1 day before storage.first_day (2026-01-01)" in says
    assert "set storage.first_day to 2025-12-30" in says


def test_a_late_second_writer_is_noticed(layout: Layout, tick: Tick) -> None:
    """A file of another collector that arrives later counts as a change of the day."""
    _raw(layout, DAY)
    tick()
    late = layout.raw_file(DAY, "b")
    late.write_text("{}\n")
    os.utime(late, (1_767_700_000, 1_767_700_000))
    assert _asked_for(tick()) == [("2026-01-05", "2026-01-05")]


def test_days_already_made_are_not_asked_for(layout: Layout, tick: Tick) -> None:
    """The first tick, which has no cursor, does not ask for days whose tables are there already."""
    _raw(layout, DAY)
    _table(layout, DAY)
    assert _asked_for(tick()) == []
    assert _asked_for(tick()) == []


@pytest.mark.parametrize("writer", ["b", None])
def test_a_day_whose_tables_lack_an_older_file_or_a_part_of_one_is_asked_for(
    config: Config, layout: Layout, tick: Tick, tmp_path: Path, writer: str | None
) -> None:
    """As when another collector's file was copied with its time, or written while the nightly run was at work.

    Its run may fail: it is asked for until the file is in the tables.
    """
    write_day(layout, DAY)
    assert not materialize_days([DAY], config, tmp_path / "home", datasets="none").failed
    late = layout.raw_file(DAY, writer)
    with late.open("a") as file:
        file.write("null\n")
    os.utime(late, (1_767_700_000, 1_767_700_000))
    for _ in range(2):
        assert _asked_for(tick(timedelta(hours=2))) == [("2026-01-05", "2026-01-05")]
    assert not materialize_days([DAY], config, tmp_path / "home", datasets="none").failed
    assert _asked_for(tick(timedelta(hours=2))) == []
    assert _asked_for(tick(reset=True)) == []


def test_consecutive_days_are_one_run(layout: Layout, tick: Tick) -> None:
    """Five imported days with a gap are two runs, not five."""
    for day in (1, 2, 3, 7, 8):
        _raw(layout, date(2026, 1, day))
    assert _asked_for(tick()) == [("2026-01-01", "2026-01-03"), ("2026-01-07", "2026-01-08")]


def test_a_file_that_is_still_being_written_is_left_alone(layout: Layout, tick: Tick) -> None:
    """A day is not finished while an import writes it; it is asked for once its file has been left alone for 5 min."""
    _raw(layout, DAY, age=timedelta(seconds=20))
    waiting = tick()
    assert _asked_for(waiting) == []
    assert waiting.asset_events == []
    assert "1 closed day, 1 of them changed in the last 5 minutes" in str(waiting.skip_reason)
    _raw(layout, DAY, age=timedelta(minutes=6))
    assert _asked_for(tick()) == [("2026-01-05", "2026-01-05")]


def test_a_file_dated_in_the_future_counts_as_left_alone(
    config: Config, layout: Layout, tick: Tick, tmp_path: Path
) -> None:
    """As one copied from a machine whose clock is ahead, or written before the clock was set back. The day is made once."""
    _raw(layout, DAY, age=timedelta(days=-400))
    assert _asked_for(tick()) == [("2026-01-05", "2026-01-05")]
    assert not materialize_days([DAY], config, tmp_path / "home", datasets="none").failed
    for _ in range(4):
        later = tick(timedelta(hours=2))
        assert _asked_for(later) == []
        assert "not made" not in str(later.skip_reason)


def test_a_vanished_raw_file_empties_no_table(layout: Layout, tick: Tick) -> None:
    """Moving raw files to an archive does not empty the tables of their day."""
    path = _raw(layout, DAY)
    tick()
    path.unlink()
    assert _asked_for(tick()) == []


def test_one_of_two_raw_files_that_vanishes_takes_no_row_out_of_the_tables(
    config: Config, layout: Layout, tick: Tick
) -> None:
    """As when each collector's files are archived on their own; a file that comes back is a change."""
    other = _raw(layout, DAY, "null\n").rename(layout.raw_file(DAY, "b"))
    _raw(layout, DAY)
    tick()
    ingest_day(layout, DAY, config)
    _table(layout, DAY)
    away = other.rename(layout.root / "away")
    assert _asked_for(tick()) == []
    assert _asked_for(tick()) == []
    away.rename(other)
    assert _asked_for(tick()) == [("2026-01-05", "2026-01-05")]


def test_a_day_that_a_bad_file_stopped_is_asked_for_once_the_file_is_gone(
    config: Config, layout: Layout, tick: Tick, tmp_path: Path
) -> None:
    """Its tables were half made with that file: they are not what an archived file would leave behind."""
    write_day(layout, DAY)
    assert not materialize_days([DAY], config, tmp_path / "home", datasets="none").failed
    tick(HOUR_AGO)
    bad = layout.raw_file(DAY, "partner")
    bad.write_text("{\n" * 200)
    assert _asked_for(tick(HOUR_AGO)) == [("2026-01-05", "2026-01-05")]
    assert "rejected_share" in str(materialize_days([DAY], config, tmp_path / "home", datasets="none").failed)
    bad.unlink()
    assert _asked_for(tick()) == [("2026-01-05", "2026-01-05")]
    assert not materialize_days([DAY], config, tmp_path / "home", datasets="none").failed
    assert _asked_for(tick()) == []


def test_what_changed_is_recorded_on_raw_points(layout: Layout, tick: Tick) -> None:
    """The external asset shows the day's files and bytes."""
    _raw(layout, DAY, "{}\n" * 10)
    (seen,) = tick().asset_events
    assert isinstance(seen, dg.AssetMaterialization)
    assert (seen.asset_key, seen.partition) == (dg.AssetKey("raw_points"), "2026-01-05")
    assert seen.metadata["bytes"].value == 30
    assert seen.metadata["names"].value == "training_data_20260105.jsonl"
    assert list(tick().asset_events) == []


def test_the_open_day_and_yesterday_before_its_nightly_run_are_left_alone(layout: Layout) -> None:
    """Until 03:00 UTC yesterday is left to the nightly run; days before the first partition are always left out."""
    for day in (date(2025, 12, 31), DAY, DAY + timedelta(days=1)):
        _raw(layout, day)
        os.utime(layout.raw_file(day), (1_767_000_000, 1_767_000_000))
    early, late = datetime(2026, 1, 6, 2, 59, tzinfo=UTC), datetime(2026, 1, 6, 3, 0, tzinfo=UTC)
    assert [raw.day for raw in look(layout, early, date(2026, 1, 1)).days] == []
    assert [raw.day for raw in look(layout, late, date(2026, 1, 1)).days] == [DAY]


def test_a_raw_file_that_is_a_link_to_nowhere_is_named(layout: Layout, tick: Tick) -> None:
    """As after moving old days to a disk that is not mounted: its day is not made, and somebody must hear of it."""
    _raw(layout, DAY)
    link, loop = (layout.raw_file(DAY + timedelta(days=number)) for number in (1, 2))
    link.symlink_to("/nowhere")
    loop.symlink_to(loop)
    assert _asked_for(tick()) == [("2026-01-05", "2026-01-05")]
    says = str(tick().skip_reason)
    assert "1 closed day," in says
    assert f"cannot read {link}: No such file or directory" in says
    assert f"cannot read {loop}: Too many levels of symbolic links" in says
    link.unlink()
    loop.unlink()
    assert "cannot read" not in str(tick().skip_reason)


def test_future_days_are_named(layout: Layout, tick: Tick) -> None:
    """A collector whose clock was ahead stored them; no run makes them before their day has come."""
    _raw(layout, date(2099, 12, 31))
    assert _asked_for(tick()) == []
    assert "1 day after today" in str(tick().skip_reason)


def test_the_cursor_is_read_as_it_was_written() -> None:
    """A tick reads what the one before wrote; anything else, as somebody might type, is refused with a hint."""
    days = {date(2026, 1, 5): Asked("aa"), date(2026, 1, 4): Asked("bb", 2, 1_767_700_000)}
    assert read_cursor(write_cursor(days)) == days
    assert write_cursor(days) == '{"2026-01-04":["bb",2,1767700000],"2026-01-05":"aa"}', "made days are short"
    assert read_cursor('{"2026-01-05":"aa"}') == {date(2026, 1, 5): Asked("aa")}
    assert read_cursor(None) == {}
    for wrong in ("7", "[]", '{"monday": "x"}', "{", '{"2026-01-05": 7}', '{"2026-01-05": ["aa"]}'):
        with pytest.raises(UsageError, match="reset the cursor"):
            read_cursor(wrong)


def test_a_day_of_many_files_names_a_few(layout: Layout, tick: Tick) -> None:
    """Each change of a file is recorded, and the records stay in Dagster's storage."""
    for number in range(30):
        path = layout.raw_file(DAY, f"writer-{number:02}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
        os.utime(path, (1_767_000_000, 1_767_000_000))
    (seen,) = tick().asset_events
    assert isinstance(seen, dg.AssetMaterialization)
    assert seen.metadata["files"].value == 30
    assert str(seen.metadata["names"].value).endswith("training_data_20260105.writer-09.jsonl and 20 more")
