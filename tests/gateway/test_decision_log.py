"""The decision log: one bounded file a day, searched by decision id."""

import asyncio
import hashlib
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from flywheel_core.config import Config
from flywheel_core.lake.layout import day_of
from flywheel_core.learn.decision import Decision
from flywheel_core.prompt import PROMPT_RULE
from flywheel_gateway.collection import Sender
from flywheel_gateway.decisions import (
    DecisionLog,
    DecisionRecord,
    decision_file,
    find_decision,
    new_decision_id,
    record_of,
)
from flywheel_gateway.service import Service
from tests.gateway.world import Outside

DECISION = Decision("math", "math", 0.8, "router", "v7", {"math": 0.9, "big": 0.7})


def record(prompt: str = "1 + 1?", at: float | None = None) -> DecisionRecord:
    made = record_of(new_decision_id(at), DECISION, prompt, "team-a")
    if at is not None:
        made.at = at
    return made


def write(log: DecisionLog, *records: DecisionRecord) -> None:
    async def once() -> None:
        log.start()
        for one in records:
            log.add(one)
        await log.close()

    asyncio.run(once())


def test_a_decision_is_found_by_its_id(tmp_path: Path) -> None:
    records = [record(f"question {number}") for number in range(50)]
    log = DecisionLog(tmp_path, 1_000_000, 30)
    write(log, *records)
    assert find_decision(tmp_path, records[31].decision_id) == records[31]
    assert find_decision(tmp_path, new_decision_id()) is None
    assert find_decision(tmp_path, "no id at all") is None
    assert log.written == 50


def test_a_line_says_what_was_decided_and_why_and_holds_a_hash_of_the_prompt() -> None:
    found = msgspec.to_builtins(record_of("an id", DECISION, "1 + 1?", "team-a"))
    assert time.time() - 60 < found.pop("at") <= time.time()
    assert found == {
        "decision_id": "an id",
        "prompt": hashlib.sha256(b"1 + 1?").hexdigest()[:32],
        "model": "math",
        "category": "math",
        "confidence": 0.8,
        "reason": "router",
        "prompt_rule": PROMPT_RULE,
        "router_version": "v7",
        "scores": {"math": 0.9, "big": 0.7},
        "tenant": "team-a",
    }


def test_decisions_that_come_faster_than_they_are_written_are_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel_gateway.decisions.MAX_WAITING", 2)
    log = DecisionLog(tmp_path, 1_000_000, 30)
    write(log, *[record() for _ in range(5)])
    assert (log.written, log.dropped) == (2, 3)


def test_a_request_that_ended_after_midnight_is_found(tmp_path: Path) -> None:
    midnight = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    late = record(at=midnight + 3)
    late.decision_id = new_decision_id(midnight - 2)
    write(DecisionLog(tmp_path, 1_000_000, 30), late)
    assert decision_file(tmp_path, date(2026, 3, 1)).exists()
    assert find_decision(tmp_path, late.decision_id) == late


def test_a_line_torn_by_a_kill_hides_no_other(tmp_path: Path) -> None:
    """The next record begins on a new line; looking up the torn one returns None instead of raising an error."""
    torn, next_one, whole = record("one"), record("two"), record("three")
    file = decision_file(tmp_path, day_of(torn.at))
    file.write_bytes(msgspec.json.encode(torn)[:-9])
    write(DecisionLog(tmp_path, 1_000_000, 30), next_one, whole)
    assert find_decision(tmp_path, torn.decision_id) is None
    assert find_decision(tmp_path, next_one.decision_id) == next_one
    assert find_decision(tmp_path, whole.decision_id) == whole


def test_a_failure_to_write_decisions_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk may stay full for long; two log lines a second about it would use up what is left."""
    log = DecisionLog(tmp_path / "decisions", 1_000_000, 30)
    (tmp_path / "decisions").write_text("a file where the folder should be")
    for _ in range(3):
        write(log, record())
    (tmp_path / "decisions").unlink()
    write(log, record())
    assert [one.message for one in caplog.records] == ["decisions_not_written", "decisions_written_again"]
    assert (log.written, log.dropped) == (1, 3)


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    """Not in another folder at the place of the one above it, as when a disk is unmounted: it would be hidden later."""
    log = DecisionLog(tmp_path / "data/decisions", 1_000_000, 30)
    write(log, record())
    shutil.rmtree(tmp_path / "data/decisions")
    after = record()
    write(log, after)
    assert find_decision(tmp_path / "data/decisions", after.decision_id) == after
    (tmp_path / "data").rename(tmp_path / "away")
    (tmp_path / "data").mkdir()
    write(log, record())
    assert list((tmp_path / "data").iterdir()) == []
    assert (log.written, log.dropped) == (2, 1)


def test_close_waits_for_a_running_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two concurrent writes would interleave their lines."""
    log = DecisionLog(tmp_path, 1_000_000, 30)
    append, entered, gate = log._append, threading.Event(), threading.Event()

    def slow(day: date, records: list[DecisionRecord]) -> int:
        if not entered.is_set():
            entered.set()
            gate.wait(30)
        return append(day, records)

    monkeypatch.setattr(log, "_append", slow)
    first, second = record("one"), record("two")

    async def scenario() -> None:
        log.start()
        log.add(first)
        assert await asyncio.to_thread(entered.wait, 30)
        log.add(second)
        closing = asyncio.create_task(log.close())
        await asyncio.wait({closing}, timeout=0.5)
        assert not closing.done()
        gate.set()
        await closing

    try:
        asyncio.run(scenario())
    finally:
        gate.set()
    lines = decision_file(tmp_path, day_of(first.at)).read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=DecisionRecord) for line in lines] == [first, second]
    assert log.written == 2


def test_two_gateways_that_share_a_folder_tear_none_of_each_others_lines(tmp_path: Path) -> None:
    """On one machine `flywheel why` then finds the decisions of both in one place."""
    flushes, each = 50, 100
    asked = [[[record() for _ in range(each)] for _ in range(flushes)] for _ in range(2)]
    start = threading.Barrier(2)

    def append(batches: list[list[DecisionRecord]]) -> int:
        log = DecisionLog(tmp_path, 100_000_000, 30)
        start.wait(30)
        return sum(log._append(day_of(batches[0][0].at), batch) for batch in batches)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(append, asked)) == [flushes * each] * 2
    lines = [line for path in tmp_path.iterdir() for line in path.read_bytes().splitlines() if line]
    found = {msgspec.json.decode(line, type=DecisionRecord).decision_id for line in lines}
    assert found == {one.decision_id for batches in asked for batch in batches for one in batch}


def test_a_days_file_is_bounded_and_dropped_decisions_are_counted(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path, 2_000, 30)
    write(log, *(record() for _ in range(50)))
    (file,) = tmp_path.iterdir()
    assert 1_500 < file.stat().st_size <= 2_000
    assert log.written == file.read_bytes().count(b"\n")
    assert log.written + log.dropped == 50
    again = DecisionLog(tmp_path, 2_000, 30)
    write(again, record())
    assert (again.written, again.dropped) == (0, 1)


def test_a_full_log_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The metric of dropped decisions grows alike for a full log and for a failing disk: the log tells which."""
    log = DecisionLog(tmp_path, 2_000, 30)
    for _ in range(3):
        write(log, *(record() for _ in range(20)))
    assert log.dropped > 0
    (said,) = caplog.records
    assert (said.message, vars(said)["max_bytes"]) == ("decision_log_full", 2_000)


def test_old_days_are_removed(tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    for days in (1, 29, 31, 400):
        decision_file(tmp_path, today - timedelta(days=days)).write_text("")
    (tmp_path / "notes.txt").write_text("mine")
    write(DecisionLog(tmp_path, 1_000_000, 30), record())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [decision_file(tmp_path, today - timedelta(days=days)).name for days in (0, 1, 29)] + ["notes.txt"]
    )


def test_exactly_the_permitted_number_of_earlier_days_is_kept(tmp_path: Path) -> None:
    days = [date(2026, 1, day) for day in (2, 3, 4)]
    for day in days:
        decision_file(tmp_path, day).touch()
    log = DecisionLog(tmp_path, 1_000_000, keep_days=2)
    write(log, record(at=datetime(2026, 1, 5, 12, tzinfo=UTC).timestamp()))
    assert [decision_file(tmp_path, day).exists() for day in days] == [False, True, True]


def test_in_a_folder_that_cannot_be_written_decisions_are_dropped_and_counted(tmp_path: Path) -> None:
    (tmp_path / "decisions").write_text("a file where the folder should be")
    log = DecisionLog(tmp_path / "decisions", 1_000_000, 30)
    write(log, record())
    assert (log.written, log.dropped) == (0, 1)


def test_decisions_of_one_day_are_counted_though_those_of_another_cannot_be_written(tmp_path: Path) -> None:
    """Around midnight, one flush writes the files of two days."""
    midnight = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    decision_file(tmp_path, date(2026, 3, 1)).mkdir()
    log = DecisionLog(tmp_path, 1_000_000, 30)
    before, after = record(at=midnight - 1), record(at=midnight + 1)
    write(log, before, after)
    assert (log.written, log.dropped) == (1, 1)
    assert find_decision(tmp_path, before.decision_id) == before


def test_ids_begin_with_their_time_and_are_unique() -> None:
    before = int(time.time())
    ids = {new_decision_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(before <= int(one[:8], 16) <= time.time() for one in ids)


def test_the_last_decisions_are_on_record_when_the_gateway_has_ended(
    tmp_path: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel_gateway.decisions.FLUSH_SECONDS", 3_600.0)
    settings = outside.config(storage__data_dir=str(tmp_path), data_collection__enabled=False)

    async def decide() -> str:
        service = Service(lambda: Config.model_validate(settings))
        async with service.running():
            decision_id, _ = await service.gateway.route("1 + 1?", Sender([], None))
        return decision_id

    decision_id = asyncio.run(decide())
    (file,) = (tmp_path / "decisions").glob("*.jsonl")
    assert decision_id in file.read_text()
