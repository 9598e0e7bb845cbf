"""The routers on disk, and which one is in service: `data/routers/`.

    <version>/          one router, never changed once it is there
    champion.json       the pointer: which version is in service; authoritative
    promotions.jsonl    the log: what was judged and promoted

A promotion writes its entry to the log and syncs it, then swaps the pointer. A process that dies in between
leaves an entry that never took effect, which `history` shows; whoever reads the pointer always finds one
whole version. A lock file keeps two promoters apart; readers need none.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from flywheel_core.errors import RouterError
from flywheel_core.lake.atomic import sha256_of, write_atomically
from flywheel_core.lake.layout import Layout
from flywheel_core.learn.champion import (
    MANIFEST,
    POINTER,
    Champion,
    first_whole,
    one_promoter,
    read_champion,
    version_folder,
)
from flywheel_core.learn.promotion_history import Record, looks_in_life, records, way_back
from flywheel_core.learn.promotion_log import Entry, Kind, Looks, append_entry, read_entries

LOG = "promotions.jsonl"


class Registry:
    """Reads and changes which router is in service.

    verify: raises RouterError unless a version's folder is whole.
    """

    def __init__(self, layout: Layout, verify: Callable[[Path], object]) -> None:
        self.layout = layout
        self.verify = verify
        self.pointer = layout.routers / POINTER
        self.log = layout.routers / LOG

    def champion(self) -> Champion | None:
        """Return what is in service, None before the first promotion.

        Raises RouterError when the pointer is damaged.
        """
        return read_champion(self.pointer)

    def history(self) -> list[Record]:
        """Return the log, oldest entry first. Raises RouterError when the log or the pointer is damaged."""
        return records(read_entries(self.log), self.champion())

    def way_back(self) -> list[str]:
        """Return the versions that one rollback after another would put into service, the next one first.

        Raises RouterError when the log or the pointer is damaged.
        """
        return [entry.version for entry in way_back(read_entries(self.log), self.champion())]

    def judgements(self, champion: Champion) -> list[Entry]:
        """Return the judgements against this champion, oldest first."""
        entries = read_entries(self.log)
        return [entry for entry in entries if entry.kind == "judged" and entry.against == champion.sequence]

    def entry(self, champion: Champion) -> Entry | None:
        """Return the entry that put this champion into service; None when the log does not have it."""
        return next((one for one in read_entries(self.log) if one.sequence == champion.sequence), None)

    def looks(self, champion: Champion) -> Looks:
        """Return the looks taken in this champion's life. See `looks_in_life`."""
        return looks_in_life(read_entries(self.log), champion)

    def record_judgement(
        self,
        champion: Champion,
        version: str,
        last_day: str,
        decide: Callable[[Looks], tuple[str, Mapping[str, Any]]],
        *,
        by: str,
    ) -> Entry:
        """Judge once and for all: log the reason and figures that `decide` returns for the looks so far.

        If there already is an entry for the same champion, challenger and last day, that is returned, so that
        a night that runs again spends no further look. One that took no look is judged again, by the current
        settings. Raises RouterError when another champion is in service by now.
        """
        with one_promoter(self.layout):
            self._expect(champion.sequence)
            same = [
                entry
                for entry in self.judgements(champion)
                if (entry.version, entry.last_day) == (version, last_day)
            ]
            if same and same[-1].figures.get("look") is not None:
                return same[-1]
            reason, figures = decide(self.looks(champion))
            if same and (same[-1].reason, same[-1].figures) == (reason, figures):
                return same[-1]
            entry = Entry(
                kind="judged",
                version=version,
                at=time.time(),
                by=by,
                reason=reason,
                last_day=last_day,
                against=champion.sequence,
                figures=dict(figures),
            )
            append_entry(self.log, entry)
            return entry

    def promote(
        self,
        version: str,
        *,
        kind: Kind,
        by: str,
        reason: str,
        since: float | None,
        figures: Mapping[str, Any] | None = None,
        expected: int | None = None,
        last_day: str | None = None,
    ) -> Champion:
        """Put a version into service and return it as the champion.

        since: when the newest test question that the promotion rests on was received, unix seconds, None for
        none; expected: sequence of the champion to be replaced, 0 for none; unless given, any champion is
        replaced. Raises RouterError when the version is missing or damaged, or another champion than expected
        is in service; StorageError when the system refuses. In each case the champion stays what it was.
        """
        with one_promoter(self.layout):
            if expected is not None:
                self._expect(expected)
            return self._swap(version, kind, by, reason, since, figures or {}, last_day=last_day)

    def rollback(self, *, by: str, reason: str, since: float | None) -> Champion:
        """Put back into service the version that the champion replaced; another call goes one further back.

        Raises RouterError when there is none, or it is missing or damaged; the hint then names the next one
        further back that is whole.
        """
        with one_promoter(self.layout):
            champion = self.champion()
            back = way_back(read_entries(self.log), champion)
            target = next(back, None)
            if target is None:
                raise RouterError(
                    "there is no earlier champion to go back to",
                    hint="choose a version with: flywheel router promote VERSION",
                    code="no_earlier_champion",
                )
            try:
                return self._swap(target.version, "rollback", by, reason, since, {}, restores=target)
            except RouterError as error:
                others = (entry.version for entry in back if champion and entry.version != champion.version)
                whole = first_whole(self.layout, others, self.verify)
                raise RouterError(
                    f"the one before, {target.version}, cannot be put back into service: {error.message}",
                    hint="no other one before it is whole; flywheel router list shows the versions that exist"
                    if whole is None
                    else f"the next one further back that is whole: flywheel router promote {whole}",
                    code=error.code,
                ) from error

    @contextmanager
    def unserved(self, version: str) -> Iterator[None]:
        """Keep anything from being promoted while the block runs.

        Raises RouterError when `version` is in service.
        """
        with one_promoter(self.layout):
            champion = self.champion()
            if champion is not None and champion.version == version:
                raise RouterError(f"router {version} is in service by now", code="champion_changed")
            yield

    def _swap(
        self,
        version: str,
        kind: Kind,
        by: str,
        reason: str,
        since: float | None,
        figures: Mapping[str, Any],
        restores: Entry | None = None,
        last_day: str | None = None,
    ) -> Champion:
        folder = version_folder(self.layout, version)
        self.verify(folder)
        digest = sha256_of(folder / MANIFEST)
        if restores is not None and restores.digest != digest:
            raise RouterError(
                f"router {version} is not what it was when it was in service", code="router_damaged"
            )
        newest = max((entry.sequence or 0 for entry in read_entries(self.log)), default=0)
        previous = self._sequence_before(kind, newest)
        now = Champion(
            sequence=max(newest, previous or 0) + 1,
            version=version,
            digest=digest,
            at=time.time(),
            since=since,
            previous=previous,
        )
        entry = Entry(
            kind=kind,
            version=version,
            at=now.at,
            by=by,
            reason=reason,
            last_day=last_day,
            since=since,
            sequence=now.sequence,
            previous=now.previous,
            digest=digest,
            restores=restores.sequence if restores else None,
            figures=dict(figures),
        )
        append_entry(self.log, entry)
        write_atomically(self.pointer, msgspec.json.format(msgspec.json.encode(now), indent=2) + b"\n")
        return now

    def _sequence_before(self, kind: Kind, newest: int) -> int | None:
        """Return the sequence of what is replaced, None for nothing.

        A promotion by a person also repairs a damaged pointer; the newest entry of the log then counts as
        what it named.
        """
        try:
            before = self.champion()
        except RouterError:
            if kind != "manual":
                raise
            return newest or None
        return before.sequence if before else None

    def _expect(self, sequence: int) -> None:
        champion = self.champion()
        found = champion.sequence if champion else 0
        if found != sequence:
            raise RouterError(
                f"promotion {found} is in service, not {sequence}: somebody else promoted meanwhile",
                hint="judge against the champion that is in service now",
                code="champion_changed",
            )
