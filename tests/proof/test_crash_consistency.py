"""Storage: a power cut.

The collector's Committer on a model file system (`model_disk.py`). Killing a process cannot show what a power cut does,
because the page cache outlives the process.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from collector_api import commits
from collector_api.commits import Committer
from collector_api.disk import BLOCK
from collector_api.metrics import CollectorMetrics
from flywheel_core.errors import RequestError, StorageError
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import read_table
from tests.collector.committing import store
from tests.core.lake.lakes import CONFIG, LATER
from tests.proof.conftest import Proof
from tests.proof.model_disk import DiskWithoutFolderSync, DiskWithoutSync, Machine, ModelDisk

DAYS = (date(2026, 1, 5), date(2026, 1, 6))
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC).timestamp()
COMMIT_BYTES = 4 * BLOCK
CHOICES = st.randoms(use_true_random=True)


class LostError(AssertionError):
    """An acknowledged line is missing, or is there more than once."""


def line(number: int, length: int) -> bytes:
    """Return the raw line of a data point: `length` bytes with its newline, or the fewest possible if that is more."""
    head = b'{"id":"p-%d","responses":{"big":{"model":"big","answer":"yes"}},"question":"q' % number
    return head.ljust(length - 3, b"x") + b'"}\n'


class Crashes(RuleBasedStateMachine):
    """A collector that stores, tidies up, stops, is killed and loses power, and a record of what it acknowledged."""

    disk_type: type[ModelDisk] = ModelDisk
    folder: Path
    tally: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        place = self.folder / f"run-{self.tally['runs']}"
        place.mkdir()
        self.tally["runs"] += 1
        self.machine = Machine(place)
        self.runner = asyncio.Runner()
        self.number = 0
        self.acknowledged: set[int] = set()
        self.rejected: set[int] = set()
        self.refused: dict[int, date] = {}
        self.committer: Committer | None = None
        self.disk = ModelDisk(self.machine, random.Random(0))
        self.choose = random.Random(0)
        self.power_cut = True

    @initialize(power_cut=st.booleans(), choose=CHOICES, deaths=st.lists(st.integers(0, 6), max_size=2))
    def first_start(self, power_cut: bool, choose: random.Random, deaths: list[int]) -> None:
        self.power_cut, self.choose = power_cut, choose
        self._begin_again(deaths)

    # what a collector does

    @rule(
        sizes=st.lists(
            st.sampled_from([0, 200, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK]), min_size=1, max_size=4
        ),
        fit=st.none() | st.integers(-1, 1),
        day=st.sampled_from(DAYS),
        rejects=st.booleans(),
        again=st.booleans(),
    )
    def store(self, sizes: list[int], fit: int | None, day: date, rejects: bool, again: bool) -> None:
        """Concurrent requests; with `fit` the first line ends at the end of a block, or one byte before or after it."""
        numbers = [self._next() for _ in sizes]
        if fit is not None:
            sizes[0] = self._to_block_end(day) + fit
        requests = [(number, line(number, size)) for number, size in zip(numbers, sizes, strict=True)]
        if again:  # senders retry what was refused
            requests += [(number, line(number, 0)) for number, at in self.refused.items() if at == day]
        self.runner.run(self._store(day, requests, rejects))
        if self.disk.died:
            self._begin_again()

    async def _store(self, day: date, requests: list[tuple[int, bytes]], rejects: bool) -> None:
        assert self.committer is not None
        aside = [[b"reject %d\n" % number] if rejects else [] for number, _ in requests]
        outcomes = await asyncio.gather(
            *(
                store(self.committer, day, text, rejected)
                for (_, text), rejected in zip(requests, aside, strict=True)
            ),
            return_exceptions=True,
        )
        for (number, _), outcome in zip(requests, outcomes, strict=True):
            if outcome is None:
                self.acknowledged.add(number)
                self.rejected |= {number} if rejects else set()
                self.refused.pop(number, None)
            elif isinstance(outcome, RequestError):
                self.refused[number] = day
            else:
                raise outcome

    @rule()
    def tidy(self) -> None:
        assert self.committer is not None
        self.runner.run(self.committer._on_thread(self.committer._tidy))
        if self.disk.died:
            self._begin_again()

    @rule(call=st.sampled_from(["write", "sync", "truncate", "open", "sync_folder", "remove"]))
    def refuse(self, call: str) -> None:
        self.disk.fail[call] = 1

    # how it ends and starts again

    @rule(after=st.integers(0, 12), power_cut=st.booleans(), choose=CHOICES)
    def die_soon(self, after: int, power_cut: bool, choose: random.Random) -> None:
        """The process is killed, or the power cut, after `after` more changes to the disk."""
        self.disk.die_after, self.power_cut, self.choose = after, power_cut, choose

    @rule(power_cut=st.booleans(), choose=CHOICES, while_mending=st.lists(st.integers(0, 6), max_size=2))
    def die(self, power_cut: bool, choose: random.Random, while_mending: list[int]) -> None:
        """The process dies at once, and again while the next starts repair the files."""
        self.power_cut, self.choose = power_cut, choose
        self.disk.died = True
        self._begin_again(while_mending)

    @rule()
    def stop(self) -> None:
        self._stop()
        self._begin_again()

    def teardown(self) -> None:
        try:
            self.power_cut = True
            self.disk.died = True
            self._begin_again()
            self._stop()
        finally:
            self._stop()
            self.runner.close()
        self._check()

    def _begin_again(self, while_mending: Sequence[int] = ()) -> None:
        """Start on what is left of the machine: first dying during the repair as often as asked, then without dying."""
        for die_after in [*while_mending, None]:
            died = self.disk.died
            self._stop()
            if died and self.power_cut:
                self.machine.cut_power(self.choose)
                self.tally["power_cuts"] += 1
            elif died:
                self.tally["kills"] += 1
            self._start(die_after)

    def _start(self, die_after: int | None = None) -> None:
        self.disk = self.disk_type(self.machine, self.choose, die_after)
        self.committer = Committer(
            Layout(self.machine.root),
            None,
            CollectorMetrics(),
            commit_bytes=COMMIT_BYTES,
            disk_floor_bytes=0,
            clock=lambda: NOON,
            disk=self.disk,
        )
        try:
            self.runner.run(self.committer.start())
        except StorageError:
            if not self.disk.died:
                raise
            self.tally["deaths_while_mending"] += 1

    def _stop(self) -> None:
        committer, self.committer = self.committer, None
        if committer is not None:
            self.runner.run(committer.stop())

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _to_block_end(self, day: date) -> int:
        """Return the length of a line that would end at the end of a block if it were appended to the day's last file."""
        files = Layout(self.machine.root).raw_files(day)
        size = len(files[-1].read_bytes().rstrip(b"\n")) + 1 if files else 0
        return 2 * BLOCK - size % BLOCK

    def _check(self) -> None:
        """Check that every acknowledged data point is in the tables once, and every acknowledged reject on disk."""
        layout = Layout(self.machine.root)
        found: Counter[str] = Counter()
        for day in DAYS:
            result = ingest_day(layout, day, CONFIG, today=LATER)
            assert result.lines == result.accepted + result.duplicates + result.rejected
            self.tally["torn_lines"] += result.rejected
            found.update(read_table(layout, "responses", [day])["data_point_id"].to_list())
        for number in sorted(self.acknowledged):
            if found[f"p-{number}"] != 1:
                raise LostError(
                    f"p-{number} was acknowledged and is in the tables {found[f'p-{number}']} times"
                )
        self.tally["acknowledged"] += len(self.acknowledged)
        kept = {text for path in layout.rejected.iterdir() for text in path.read_bytes().split(b"\n")}
        for number in sorted(self.rejected):
            if b"reject %d" % number not in kept:
                raise LostError(f"what was set aside with p-{number} is gone")


@pytest.fixture
def crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Crashes]]:
    """The state machine, whose collector tidies up only when a rule says so."""
    monkeypatch.setattr(commits, "_TIDY_SECONDS", 1e6)
    yield type("CrashesHere", (Crashes,), {"folder": tmp_path, "tally": Counter()})


def run(machine: type[Crashes], examples: int, **more: Any) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=14,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            **more,
        ),
    )


@pytest.mark.proof(
    "what was acknowledged survives a power cut",
    "a model disk drops any subset of unsynced blocks, sizes and names, torn blocks included, also while mending",
)
def test_no_acknowledged_point_is_lost(crashes: type[Crashes], proof: Proof) -> None:
    run(crashes, proof.size(40, 1_000), derandomize=not proof.full)
    assert crashes.tally["acknowledged"] > crashes.tally["runs"]
    assert crashes.tally["deaths_while_mending"]
    proof.note(**crashes.tally, lost=0)


@pytest.mark.proof(
    "the test above would see a loss",
    "the same runs on a disk whose sync of files, or of folders, does nothing",
)
@pytest.mark.parametrize("disk", [DiskWithoutSync, DiskWithoutFolderSync])
def test_a_disk_without_sync_is_found_out(
    crashes: type[Crashes], proof: Proof, disk: type[ModelDisk]
) -> None:
    crashes.disk_type = disk
    with pytest.raises(LostError, match="p-"):
        run(crashes, 200, derandomize=True, phases=[Phase.generate])
    proof.note(found_after_runs=crashes.tally["runs"])
