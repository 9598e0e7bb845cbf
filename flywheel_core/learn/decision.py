"""What is decided about one prompt, and the reasons for which a router chooses a model.

Importing this module loads none of the libraries that routers need.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

ROUTER, THIN, UNFAMILIAR, SINGLE = "router", "thin_evidence", "unfamiliar", "best_single"
REASONS = {
    ROUTER: "the router chose the model",
    THIN: "too few similar training questions speak for another model, so it is the best single one",
    UNFAMILIAR: "the text is unlike the training data, so it is the best single model",
    SINGLE: "no router beats the best single model",
}
"""Reason -> its meaning in words."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Which model should answer, and why.

    category: the domain the model stands for; confidence: 0..1, the probability that the choice is within
    tolerance of the best; scores: expected score (0..1) per model, empty if no router was asked.
    """

    model: str
    category: str
    confidence: float
    reason: str
    router_version: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
