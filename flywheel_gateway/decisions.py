"""The log of decisions: one line each in a file a day, so that a decision can be explained long after.

A line holds the hash of the prompt, never its text; the text is in the data point of the same decision id, if the
request was collected. Lines are written about twice a second: a killed process loses the last of them.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec

from flywheel_core.lake.layout import day_of, own_folder
from flywheel_core.prompt import PROMPT_RULE
from flywheel_core.trouble import Trouble
from flywheel_gateway.routing import Decision

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.5
MAX_WAITING = 20_000
"""Lines in memory beyond which further ones are dropped and counted."""


class DecisionRecord(msgspec.Struct, omit_defaults=True):
    """One decision. at: unix seconds; prompt: the first 32 hex digits of the SHA-256 of the prompt; scores: expected
    score per model; served: the model that answered, null if none did or the decision was only asked for; failed:
    model -> why it did not answer; collected: whether the request was handed to collection."""

    decision_id: str
    at: float
    prompt: str
    model: str
    category: str
    confidence: float
    reason: str
    prompt_rule: str = PROMPT_RULE
    router_version: str | None = None
    scores: dict[str, float] = {}
    served: str | None = None
    failed: dict[str, str] = {}
    tenant: str | None = None
    collected: bool = False


def new_decision_id(now: float | None = None) -> str:
    """32 hex digits; the first 8 are the unix time in seconds, by which the day's file is found."""
    return f"{int(time.time() if now is None else now):08x}{os.urandom(12).hex()}"


def prompt_hash(prompt: str) -> str:
    """What stands for a prompt in the log."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:32]


def record_of(decision_id: str, decision: Decision, prompt: str, tenant: str | None) -> DecisionRecord:
    """The record of a decision, before it is known who answers."""
    return DecisionRecord(
        decision_id,
        time.time(),
        prompt_hash(prompt),
        decision.model,
        decision.category,
        decision.confidence,
        decision.reason,
        router_version=decision.router_version,
        scores=dict(decision.scores),
        tenant=tenant,
    )


class DecisionLog:
    """Appends to `folder/decisions_YYYYMMDD.jsonl`, by UTC day.

    max_bytes: largest size of one day's file, beyond which decisions are dropped and counted; keep_days: files of
    earlier days are removed.
    """

    def __init__(self, folder: Path, max_bytes: int, keep_days: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._keep_days = keep_days
        self._waiting: list[DecisionRecord] = []
        self._writer: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._day: date | None = None
        self._refused = Trouble(logger)
        self.written = 0
        self.dropped = 0

    def start(self) -> None:
        """Begin to write; needs a running loop."""
        self._writer = asyncio.create_task(self._write_on())

    async def close(self) -> None:
        """Write what waits, and end."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
            self._writer = None
        await self._flush()

    def add(self, record: DecisionRecord) -> None:
        """Take a record; it is written soon. Never waits."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(record)
        else:
            self.dropped += 1

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await asyncio.shield(self._flush())

    async def _flush(self) -> None:
        async with self._writing:  # one at a time: a close may come while lines are written
            records, self._waiting = self._waiting, []
            if not records:
                return
            try:
                written = await asyncio.to_thread(self._append, records)
            except OSError as error:
                written = 0
                self._refused.met(
                    "decisions_not_written", extra={"folder": str(self._folder), "reason": str(error)}
                )
            else:
                self._refused.gone("decisions_written_again", extra={"dropped": self.dropped})
            self.written += written
            self.dropped += len(records) - written

    def _append(self, records: list[DecisionRecord]) -> int:
        """How many of the records were written to their days' files."""
        days: dict[date, list[bytes]] = {}
        for record in records:
            days.setdefault(day_of(record.at), []).append(msgspec.json.encode(record) + b"\n")
        written = 0
        for day, lines in days.items():
            if day != self._day:
                own_folder(self._folder)
                self._remove_before(day - timedelta(days=self._keep_days))
                self._day = day
            with decision_file(self._folder, day).open("a+b") as file:
                size = file.tell()
                if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
                    file.write(b"\n")  # a kill tore the last line: the next must not be joined to it
                room = self._max_bytes - file.tell()
                while lines and len(lines[0]) <= room:
                    room -= len(lines[0])
                    file.write(lines.pop(0))
                    written += 1
        return written

    def _remove_before(self, first: date) -> None:
        for path in self._folder.glob("decisions_????????.jsonl"):
            if path.name < decision_file(self._folder, first).name:
                path.unlink(missing_ok=True)


def decision_file(folder: Path, day: date) -> Path:
    """The file of a day's decisions."""
    return folder / f"decisions_{day:%Y%m%d}.jsonl"


def find_decision(folder: Path, decision_id: str) -> DecisionRecord | None:
    """The record of a decision id, or None when there is none (any more).

    The day in the id tells the file; a request that ended after midnight stands in the next day's.
    """
    try:
        day = datetime.fromtimestamp(int(decision_id[:8], 16), UTC).date()
    except ValueError:
        return None
    wanted = msgspec.json.encode(decision_id)
    for path in (decision_file(folder, day), decision_file(folder, day + timedelta(days=1))):
        if path.is_file():
            with path.open("rb") as file:
                for line in file:
                    if wanted in line:
                        with contextlib.suppress(msgspec.MsgspecError):  # it is torn
                            return msgspec.json.decode(line, type=DecisionRecord)
    return None
