"""The decision log: one line per decision and one file per day, to explain any decision much later.

A line holds the hash of the prompt, never its text; the text is in the data point with the same decision id,
if the request was collected. Lines are written twice a second: a killed process loses those of the last half
second.
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

from flywheel_core.lake.atomic import own_folder
from flywheel_core.lake.layout import day_of
from flywheel_core.learn.decision import Decision
from flywheel_core.prompt import PROMPT_RULE
from flywheel_core.trouble import Trouble

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.5
MAX_WAITING = 20_000
"""Most records held in memory; further ones are dropped and counted."""


class DecisionRecord(msgspec.Struct, omit_defaults=True):
    """One decision.

    at: unix seconds; prompt: the first 32 hex digits of the SHA-256 of the prompt; scores: expected score per
    model; served: the model that answered, None if none did or if only the decision was asked for; failed:
    model -> why it did not answer; collected: whether the request was handed to collection.
    """

    decision_id: str
    at: float
    prompt: str
    model: str
    category: str
    confidence: float
    reason: str
    prompt_rule: str | None = None
    router_version: str | None = None
    scores: dict[str, float] = {}
    served: str | None = None
    failed: dict[str, str] = {}
    tenant: str | None = None
    collected: bool = False


def new_decision_id(now: float | None = None) -> str:
    """Return 32 hex digits; the first 8 are the unix time in seconds, by which the day's file is found."""
    return f"{int(time.time() if now is None else now):08x}{os.urandom(12).hex()}"


def prompt_hash(prompt: str) -> str:
    """Return the hash that stands for a prompt in the log: the first 32 hex digits of its SHA-256."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:32]


def record_of(decision_id: str, decision: Decision, prompt: str, tenant: str | None) -> DecisionRecord:
    """Return the record of a decision, before it is known which model answers."""
    return DecisionRecord(
        decision_id,
        time.time(),
        prompt_hash(prompt),
        decision.model,
        decision.category,
        decision.confidence,
        decision.reason,
        prompt_rule=PROMPT_RULE,
        router_version=decision.router_version,
        scores=dict(decision.scores),
        tenant=tenant,
    )


class DecisionLog:
    """Appends records to `folder/decisions_YYYYMMDD.jsonl`, one file per UTC day.

    max_bytes: largest size of a day's file, beyond which decisions are dropped and counted; keep_days: how
    many days before the current one are kept.
    """

    def __init__(self, folder: Path, max_bytes: int, keep_days: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._keep_days = keep_days
        self._waiting: list[DecisionRecord] = []
        self._writer: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._day: date | None = None
        self._above: os.stat_result | None = None
        self._refused = Trouble(logger)
        self._full: date | None = None
        self.written = 0
        self.dropped = 0

    def start(self) -> None:
        """Start writing; needs a running event loop."""
        self._writer = asyncio.create_task(self._write_on())

    async def close(self) -> None:
        """Write what is waiting, and stop."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
            self._writer = None
        await self._flush()

    def add(self, record: DecisionRecord) -> None:
        """Queue a record to be written within FLUSH_SECONDS, or drop it if too many wait. Never waits."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(record)
        else:
            self.dropped += 1

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await asyncio.shield(self._flush())

    async def _flush(self) -> None:
        async with self._writing:  # one at a time: `close` may be called during a write
            records, self._waiting = self._waiting, []
            days: dict[date, list[DecisionRecord]] = {}
            for record in records:
                days.setdefault(day_of(record.at), []).append(record)
            for day, of_day in days.items():
                try:
                    written = await asyncio.to_thread(self._append, day, of_day)
                except OSError as error:
                    written = 0
                    self._refused.met(
                        "decisions_not_written", extra={"folder": str(self._folder), "reason": str(error)}
                    )
                else:
                    self._refused.gone("decisions_written_again", extra={"dropped": self.dropped})
                    if written < len(of_day) and day != self._full:
                        self._full = day
                        extra = {"file": str(decision_file(self._folder, day)), "max_bytes": self._max_bytes}
                        logger.warning("decision_log_full", extra=extra)
                self.written += written
                self.dropped += len(of_day) - written

    def _append(self, day: date, records: list[DecisionRecord]) -> int:
        """Append records to the file of their day; return how many were written."""
        if day != self._day:
            own_folder(self._folder)
            self._remove_before(day - timedelta(days=self._keep_days))
            self._day, self._above = day, self._folder.parent.stat()
        elif self._above and os.path.samestat(self._above, self._folder.parent.stat()):
            # It may have been removed; but nothing is made where its disk was mounted.
            own_folder(self._folder)
        written = 0
        with decision_file(self._folder, day).open("a+b") as file:
            size = file.tell()
            if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
                file.write(b"\n")  # a killed process left a torn line: start a new one
            room = self._max_bytes - file.tell()
            for record in records:
                line = msgspec.json.encode(record) + b"\n"
                if len(line) > room:
                    break
                room -= len(line)
                file.write(line)
                written += 1
        return written

    def _remove_before(self, first: date) -> None:
        for path in self._folder.glob("decisions_????????.jsonl"):
            if path.name < decision_file(self._folder, first).name:
                path.unlink(missing_ok=True)


def decision_file(folder: Path, day: date) -> Path:
    """Return the path of a day's decision file."""
    return folder / f"decisions_{day:%Y%m%d}.jsonl"


def find_decision(folder: Path, decision_id: str) -> DecisionRecord | None:
    """Return the record of a decision id, or None if there is none or its file has been deleted.

    The id contains the time of the decision and so names the day's file. A request that ended after midnight
    is in the next day's file.
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
                        with contextlib.suppress(msgspec.MsgspecError):  # a torn line
                            return msgspec.json.decode(line, type=DecisionRecord)
    return None
