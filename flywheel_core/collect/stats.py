"""Plain counters of what collection has done since the start, for metrics and reports."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class CollectStats:
    """Counters of a fan-out, by model name or by code of a skip, an answer error or a missing score."""

    points: int = 0
    """Data points completed."""
    cancelled: int = 0
    """Data points abandoned because their caller was cancelled."""
    in_flight: int = 0
    """Data points in progress."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Requests that were not collected, by code of `SKIP_CODES`."""
    calls: Counter[str] = field(default_factory=Counter)
    """First calls, by model."""
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Failed answers, by model and code of `ANSWER_ERRORS`."""
    retries: Counter[str] = field(default_factory=Counter)
    """Retries, by model; those of the scorer under `scorer`."""
    reused: Counter[str] = field(default_factory=Counter)
    """Answers that users already had, so that the model was not asked again, by model."""
    scorings: int = 0
    """First calls to the scorer."""
    scores: int = 0
    """Answers that got a score."""
    missing_scores: Counter[str] = field(default_factory=Counter)
    """Answers without a score, by code of `SCORE_REASONS`."""
    unscored_in_a_row: int = 0
    """Answers without a score since the last with one, not counting those that are invalid to the scorer."""
    unpriced: int = 0
    """Answers without token counts, whose cost is unknown and not part of the spend."""

    def snapshot(self) -> dict[str, Any]:
        """Return all counters in a form that JSON can hold."""
        failures: dict[str, dict[str, int]] = {}
        for (model, code), count in self.failures.items():
            failures.setdefault(model, {})[code] = count
        return {
            "points": self.points,
            "cancelled": self.cancelled,
            "in_flight": self.in_flight,
            "skipped": dict(self.skipped),
            "calls": dict(self.calls),
            "failures": failures,
            "retries": dict(self.retries),
            "reused": dict(self.reused),
            "scorings": self.scorings,
            "scores": self.scores,
            "missing_scores": dict(self.missing_scores),
            "unpriced": self.unpriced,
        }
