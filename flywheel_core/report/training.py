"""What came of a training, in a sentence: how many examples, which candidate decides, and what each gains."""

from collections.abc import Mapping
from typing import Any

_DECIDES = {"blend": "the blend of estimators decides", "labels": "the classifier of labels decides"}


def training_sentence(figures: Mapping[str, Any]) -> str:
    """Return the sentence for the `figures` of a router's manifest; empty when they are unknown."""
    if not figures.get("examples"):
        return ""
    single = figures.get("best_single")
    what = _DECIDES.get(figures["candidate"], f"{single} answers every question")
    why = f" ({figures['why']})" if "why" in figures else ""
    said = f"Trained on {figures['examples']:,} examples: {what}{why}."
    gains = [
        f"{name} {one['gain']:+.4f} ± {one['standard_error']:.4f}"
        for name, one in figures.get("candidates", {}).items()
        if name != "best_single"
    ]
    if gains:
        said += f" Gain in utility over always {single} in cross-validation, ± its standard error: {', '.join(gains)}."
    return said
