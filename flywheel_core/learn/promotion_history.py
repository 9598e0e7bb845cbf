"""What the log of promotions tells: which entries took effect, how often a champion was looked at, what it replaced."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flywheel_core.learn.champion import Champion
from flywheel_core.learn.promotion_log import Entry, Looks


@dataclass(frozen=True)
class Record:
    """An entry of the log, and its effect.

    took_effect: whether it ever put its version into service; in_service: whether it does now.
    """

    entry: Entry
    took_effect: bool
    in_service: bool


def records(entries: Sequence[Entry], champion: Champion | None) -> list[Record]:
    """Return the entries and their effect, in the same order. champion: what is in service."""
    chain = {entry.sequence for entry in _chain(entries, champion)}
    now = champion.sequence if champion else None
    return [
        Record(
            entry,
            entry.sequence in chain,
            entry.sequence is not None and entry.sequence == now,
        )
        for entry in entries
    ]


def versions_that_served(
    entries: Sequence[Entry], champion: Champion | None, begin: float, end: float
) -> set[str]:
    """Return the versions that were in service at some time from `begin` up to `end`, unix seconds.

    Empty when nothing was at `begin`.
    """
    chain = sorted(_chain(entries, champion), key=lambda entry: entry.at)
    before = [entry.version for entry in chain if entry.at < begin]
    return {*before[-1:], *(entry.version for entry in chain if begin <= entry.at < end)} if before else set()


def looks_in_life(entries: Sequence[Entry], champion: Champion) -> Looks:
    """Return the looks taken in a champion's life.

    A renewed champion goes on with the looks of the one before it, because it was not earned on test
    questions.
    """
    by_sequence = _by_sequence(entries)
    life = {champion.sequence}
    at = by_sequence.get(champion.sequence)
    while at is not None and at.kind == "renewed" and at.previous is not None:
        life.add(at.previous)
        at = by_sequence.get(at.previous)
    taken = [
        entry.figures
        for entry in entries
        if entry.kind == "judged" and entry.against in life and entry.figures.get("look") is not None
    ]
    if not taken:
        return Looks()
    last = taken[-1]
    return Looks(len(taken), int(last.get("recent_questions") or last["questions"]), last.get("newest"))


def way_back(entries: Sequence[Entry], champion: Champion | None) -> Iterator[Entry]:
    """Yield the entries that one rollback after another would restore, the next one first.

    A version that was promoted again while it served, replacing nothing, counts once.
    """
    by_sequence = _by_sequence(entries)
    at = _origin(by_sequence.get(champion.sequence) if champion else None, by_sequence)
    while at is not None:
        before = _before(at, by_sequence)
        if before is not None and before.version != at.version:
            yield before
        at = before


def _by_sequence(entries: Sequence[Entry]) -> dict[int, Entry]:
    """Return the promotions among the entries, by sequence."""
    return {entry.sequence: entry for entry in entries if entry.sequence is not None}


def _chain(entries: Sequence[Entry], champion: Champion | None) -> Iterator[Entry]:
    """Yield the entries that took effect, newest first: from the pointer back along `previous`."""
    by_sequence = _by_sequence(entries)
    at = champion.sequence if champion else None
    while at is not None and at in by_sequence:
        entry = by_sequence.pop(at)
        yield entry
        at = entry.previous


def _origin(entry: Entry | None, by_sequence: Mapping[int, Entry]) -> Entry | None:
    """Return the entry itself, or for a rollback the entry that it restores; None when that is missing."""
    while entry is not None and entry.restores is not None:
        entry = by_sequence.get(entry.restores)
    return entry


def _before(entry: Entry | None, by_sequence: Mapping[int, Entry]) -> Entry | None:
    """Return what an entry replaced; if that was a rollback, the entry that it restored."""
    return _origin(by_sequence.get(entry.previous or 0) if entry else None, by_sequence)
