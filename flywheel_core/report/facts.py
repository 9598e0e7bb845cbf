"""What the report says about some days: the records that pages and the terminal show.

`flywheel_core/report/summary.py` computes them.
"""

from dataclasses import dataclass
from datetime import date

MAX_REJECTS = 20
"""Most rejected lines that a summary names."""
MAX_MODELS = 100
"""Most models that pages and the terminal show; `Summary.models` has all."""


@dataclass(frozen=True)
class LabelFacts:
    """One label.

    share: of all labelled examples, 0..1; mean_score: mean of the best models' scores, 0..1, None without
    examples.
    """

    label: str
    examples: int
    share: float
    mean_score: float | None


@dataclass(frozen=True)
class ModelFacts:
    """One model; None where nothing was measured.

    Shares are 0..1, latencies ms, cost in the currency of the prices. contests: data points in which it was
    scored beside another model; win_share: share of those that it won.
    """

    model: str
    category: str | None
    responses: int
    scored: int
    mean_score: float | None
    contests: int
    wins: int
    win_share: float | None
    failed_share: float
    latency_p50: int | None
    latency_p95: int | None
    cost: float | None


@dataclass(frozen=True)
class RejectFacts:
    """One rejected line: where it is and why it was rejected. Its text stays in the table `rejects`."""

    day: date
    file: str
    byte_offset: int
    code: str
    message: str


@dataclass(frozen=True)
class Summary:
    """The figures of some days. lines = points + duplicates + rejected.

    labels_by_day: label -> examples, one entry per day of `days`
    rules: rule -> data points, labelled and unlabelled
    score_histogram: scored responses in equal bins over 0..1
    margin_histogram: labelled data points in equal bins over 0..1
    mean_best_score, min_best_score, max_best_score: over labelled data points
    model_spend, scorer_spend: in the currency of the prices; unpriced: answers whose cost is not known and not
        part of `model_spend`
    rejects: the first `MAX_REJECTS`
    """

    days: tuple[date, ...]
    lines: int
    points: int
    duplicates: int
    labelled: int
    responses: int
    failed: int
    scored: int
    mean_best_score: float | None
    min_best_score: float | None
    max_best_score: float | None
    ties: int
    labels: tuple[LabelFacts, ...]
    labels_by_day: dict[str, tuple[int, ...]]
    labelled_share_by_day: tuple[float | None, ...]
    rules: dict[str, int]
    models: tuple[ModelFacts, ...]
    unknown_models: tuple[str, ...]
    score_histogram: tuple[int, ...]
    margin_histogram: tuple[int, ...]
    model_spend: float
    scorer_spend: float
    unpriced: int
    rejected: int
    rejects_by_code: dict[str, int]
    rejects: tuple[RejectFacts, ...]

    @property
    def shown_models(self) -> tuple[ModelFacts, ...]:
        """The `MAX_MODELS` models with the most responses, in the order of `models`.

        A source that invents model names thus cannot fill the page.
        """
        busiest = sorted(self.models, key=lambda model: (-model.responses, model.model))[:MAX_MODELS]
        names = {model.model for model in busiest}
        return tuple(model for model in self.models if model.model in names)
