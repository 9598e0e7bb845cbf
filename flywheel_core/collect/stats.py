"""What collection counted since its start: plain counters, for whoever shows them."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class CollectStats:
    """Counters of a fan-out. Keys are model names and the codes of skips, answer errors and missing scores."""

    points: int = 0
    """Data points that were completed."""
    cancelled: int = 0
    """Data points that were given up because their caller was cancelled."""
    in_flight: int = 0
    """Data points under way."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Requests that were not collected, by code of `SKIP_CODES`."""
    calls: Counter[str] = field(default_factory=Counter)
    """First calls, by model."""
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Failed answers, by model and code of `ANSWER_ERRORS`."""
    retries: Counter[str] = field(default_factory=Counter)
    """Retries, by model, those of the scorer under `scorer`."""
    reused: Counter[str] = field(default_factory=Counter)
    """Answers that users already had and that were not asked for again, by model."""
    scorings: int = 0
    """First calls of the scorer."""
    scores: int = 0
    """Answers that got a score."""
    missing_scores: Counter[str] = field(default_factory=Counter)
    """Answers that got none, by code of `SCORE_REASONS`."""
    unscored_in_a_row: int = 0
    """Answers that got none since the last that got one, those that are invalid to the scorer aside."""
    unpriced: int = 0
    """Answers whose usage does not count the tokens: their cost is not known and not part of the spend."""

    def snapshot(self) -> dict[str, Any]:
        """All counters, as JSON takes them."""
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
