"""One raw file straight to training lines, with the analysis that is printed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flywheel_core.config import Config


@dataclass(frozen=True)
class Analysis:
    """What came of the points of one file. Scores are those of the labels' best models, 0..1, null without labels.

    lines = points + duplicates + rejected; points = examples + unlabelled.
    """

    input: Path
    output: Path
    min_score: float
    lines: int
    points: int
    duplicates: int
    rejected: int
    rejected_by_code: dict[str, int]
    examples: int
    unlabelled_by_rule: dict[str, int]
    unknown_models: dict[str, int]
    label_counts: dict[str, int]
    score_mean: float | None
    score_min: float | None
    score_max: float | None
    mean_score_by_label: dict[str, float]


def generate(
    input: Path,
    output: Path,
    min_score: float,
    config: Config,
    progress: Callable[[int, int], None] | None = None,
) -> Analysis:
    """Write `{"text", "label"}` for each labelled point of `input` to `output`."""
    raise NotImplementedError
