"""Counts of calls per model, so that a test can prove what was called and what was not."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

_MOST_PAIRS = 500_000


@dataclass(slots=True)
class Calls:
    """Calls of one model, or of the scorer.

    active: in progress; peak_active: most in progress at once; left: the client disconnected before the end;
    failed: had an injected fault or a recorded failure.
    """

    requests: int = 0
    active: int = 0
    peak_active: int = 0
    answered: int = 0
    left: int = 0
    failed: int = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count one call while it is in progress."""
        self.requests += 1
        self.active += 1
        self.peak_active = max(self.peak_active, self.active)
        try:
            yield
        finally:
            self.active -= 1


class Stats:
    """All counts since the start."""

    def __init__(self) -> None:
        self.models: dict[str, Calls] = {}
        self.evaluate = Calls()
        self.asked_again = 0
        self._pairs: set[int] = set()

    def model(self, name: str) -> Calls:
        """Return the counts of one model."""
        return self.models.setdefault(name, Calls())

    def note_question(self, model: str, question: str) -> None:
        """Count a call as `asked_again` if this model had this question before; remembers 500,000 pairs."""
        pair = hash((model, question))
        if pair in self._pairs:
            self.asked_again += 1
        elif len(self._pairs) < _MOST_PAIRS:
            self._pairs.add(pair)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts for `/admin/stats`."""
        return {
            "models": {name: asdict(calls) for name, calls in sorted(self.models.items())},
            "evaluate": asdict(self.evaluate),
            "active": self.evaluate.active + sum(calls.active for calls in self.models.values()),
            "asked_again": self.asked_again,
        }
