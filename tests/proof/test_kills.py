"""Storage: SIGKILL.

An uploader and senders load a collector; collector and uploader are killed in turn, and start again on what they left.
"""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flywheel_core.collect import Uploader
from flywheel_core.config import Config
from flywheel_core.lake.layout import Layout
from tests.core.collect.outside import until
from tests.proof.conftest import Proof
from tests.proof.dataset_ids import dataset_of
from tests.proof.victims import STRACE, Sender, Victim, free_port, under_strace

CALLS = {
    "collector": {"pwrite64": 20, "fdatasync": 20, "fsync": 20, "ftruncate": 1, "openat": 4},
    "uploader that spools": {"write": 20, "fsync": 12, "openat": 4},
    "uploader that drains": {"/^rename": 2, "/^unlink": 1, "fsync": 8, "openat": 4},
}
"""System calls by which files change. A process is killed at its n-th such call, n being drawn from 1 to this number."""
FEW_SECONDS = 3.0


class Arena:
    """A data folder, a spool, senders, and the two processes that are killed. spooled: ids that the spool had on disk."""

    def __init__(self, folder: Path, choose: random.Random) -> None:
        self.layout = Layout(folder / "data")
        self.spool = folder / "spool"
        self._folder = folder
        self._choose = choose
        self._port = free_port(choose)
        self._lives = itertools.count()
        self.address = f"http://127.0.0.1:{self._port}/collect"
        self.spooled: set[str] = set()
        self.senders = [Sender(f"s{number}", self._port) for number in range(2)]
        self.collector = self.start_collector()
        self.uploader = self.start_uploader()

    def start_collector(self, before: list[str] | None = None) -> Victim:
        data, port = str(self.layout.root), str(self._port)
        command = ["-m", "collector_api", "--port", port, "--data-dir", data]
        return Victim(command, self._folder / "collector.log", before)

    def start_uploader(self, before: list[str] | None = None) -> Victim:
        command = ["-m", "tests.proof.uploading", str(self.spool), self.address, f"u{next(self._lives)}"]
        return Victim(command, self._folder / "uploader.log", before, self._note)

    def _note(self, line: bytes) -> None:
        if line.endswith(b"\n"):
            self.spooled.update(line.decode().split())

    def trap(self, whom: str) -> tuple[str, list[str]]:
        """Draw a system call; return it, and the command prefix that kills a process at one of its first such calls."""
        call = self._choose.choice(sorted(CALLS[whom]))
        paths: tuple[Path, ...] = ()
        if call == "openat":  # Python makes thousands of these calls while it starts
            today = datetime.now(UTC).date()
            files = [self.layout.raw_file(today), self.layout.raw, self.layout.root]
            paths = (*files,) if whom == "collector" else (self.spool, self.spool / "cursor.json")
        return call, under_strace(call, self._choose.randint(1, CALLS[whom][call]), "signal=KILL", paths)

    def end(self) -> None:
        """Upload everything that is spooled to the collector, and end all processes."""
        self.uploader.kill()
        self.collector.kill()
        self.collector = self.start_collector()
        for sender in self.senders:
            sender.end()
        asyncio.run(self._drain())
        assert self.collector.stop() == 0

    async def _drain(self) -> None:
        config = Config.model_validate({"data_collection": {"storage_endpoint": self.address}})
        async with Uploader(config, self.spool) as uploader:
            await until(lambda: not uploader.spooled, 120)

    def check(self, proof: Proof, kills: int, **more: object) -> None:
        """Check that nothing acknowledged or spooled is missing from the dataset or in it twice, and record the figures."""
        sent = {name for sender in self.senders for name in sender.acknowledged}
        found = dataset_of(self.layout)
        assert sent and self.spooled
        assert sent | self.spooled <= found.ids.keys()
        assert not found.twice
        proof.note(
            kills=kills,
            acknowledged_by_the_collector=len(sent),
            acknowledged_by_the_spool=len(self.spooled),
            torn_lines=found.rejected,
            sent_twice=sum(day.duplicates for day in found.days),
            lost=0,
            twice_in_the_dataset=0,
            **more,
        )


@pytest.fixture
def arena(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Arena]:
    """An arena; processes that a test leaves running are killed."""
    made = Arena(tmp_path, random.Random(request.node.name))
    yield made
    for victim in (made.collector, made.uploader):
        victim.kill()
    for sender in made.senders:
        sender.end()


@pytest.mark.proof(
    "SIGKILL loses nothing that was acknowledged, and doubles nothing",
    "collector and uploader killed in turn, under load, at random moments",
)
def test_kills_at_random_moments(arena: Arena, proof: Proof) -> None:
    choose = random.Random(0)
    kills = proof.size(4, 100)
    for number in range(kills):
        whom = ("collector", "uploader")[number % 2]
        victim = getattr(arena, whom)
        assert not victim.dies_by_itself(choose.uniform(0.05, 1.0))
        victim.kill()
        setattr(arena, whom, getattr(arena, f"start_{whom}")())
        assert getattr(arena, whom).first
    arena.end()
    arena.check(proof, kills)


@pytest.mark.proof(
    "SIGKILL between any two system calls loses nothing either",
    "killed by strace at the n-th pwrite64, fdatasync, fsync, ftruncate, openat, write, rename, unlink, starts included",
)
@pytest.mark.skipif(STRACE is None, reason="needs strace")
def test_kills_at_system_calls(arena: Arena, proof: Proof) -> None:
    kills: Counter[str] = Counter()
    wanted = proof.size(2, 50)
    arena.collector.kill()
    for _ in range(3 * wanted):
        call, trap = arena.trap("collector")
        arena.collector = arena.start_collector(trap)
        kills[call] += arena.collector.dies_by_itself(FEW_SECONDS)
        arena.collector.kill()
        if kills.total() == wanted:
            break
    arena.uploader.kill()
    for number in range(3 * wanted):
        if number % 2:
            arena.collector = arena.start_collector()
        call, trap = arena.trap("uploader that drains" if number % 2 else "uploader that spools")
        arena.uploader = arena.start_uploader(trap)
        kills[call] += arena.uploader.dies_by_itself(FEW_SECONDS)
        arena.uploader.kill()
        arena.collector.kill()
        if kills.total() == 2 * wanted:
            break
    assert kills.total() == 2 * wanted
    arena.end()
    at = ", ".join(f"{call.strip('/^')} {times}" for call, times in sorted(kills.items()))
    arena.check(proof, kills.total(), at_system_calls=at)
