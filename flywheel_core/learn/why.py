"""Why a question went to its model: what its scores rest on, the words that spoke for it, and its data point."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from flywheel_core.lake.layout import Layout
from flywheel_core.lake.raw_lines import whole_lines
from flywheel_core.learn.decision import THIN, UNFAMILIAR

if TYPE_CHECKING:
    from flywheel_core.learn.router import Router  # scikit-learn is imported with it

MAX_WORDS = 200
"""Most words of a prompt that are tried, from its beginning."""
SHOWN_WORDS = 10
MOST_DAYS_LATER = 7
"""How many days after its decision a data point is looked for."""
_WORD = re.compile(r"[\u3400-\u9fff]{1,2}|[^\W_]+", re.UNICODE)


Utilities = Callable[[Sequence[str]], NDArray[np.float64]]
"""Prompts -> expected utility per prompt and model, shape (n, m)."""


@dataclass(frozen=True)
class Spoke:
    """A word, and how much of the chosen model's lead, in utility, is lost without it.

    Below 0, it spoke against the model.
    """

    word: str
    lead: float


@dataclass(frozen=True)
class Grounds:
    """What a router's expected scores of a prompt rest on.

    errors: standard error of each model's expected score
    evidence: how many similar training questions are behind it
    known_share: share, 0..1, of the prompt's n-grams that are known from training
    undecided: why the scores did not decide, in words; None if they did
    """

    errors: Mapping[str, float]
    evidence: Mapping[str, float]
    known_share: float
    undecided: str | None


@dataclass(frozen=True)
class RawLine:
    """Where a collected data point lies, its question, and the model whose answer the user got.

    offset: bytes from the start of the file; served: None if the point does not name that model.
    """

    file: Path
    offset: int
    line: str
    question: str
    served: str | None


def grounds_of(router: "Router", prompt: str) -> Grounds:
    """Return what the router's expected scores of a prompt rest on."""
    found, reason, policy = router.forecast([prompt]), router.decide(prompt).reason, router.policy
    undecided = None
    if reason == UNFAMILIAR and router.is_foreign(prompt):
        undecided = (
            f"the text is in another script than the training questions: {' or '.join(policy.scripts)}"
        )
    elif reason == UNFAMILIAR:
        undecided = (
            f"{float(found.known[0]):.0%} of the text's n-grams are known from training, and a text is familiar"
            f" from {policy.known_share:.0%} on"
        )
    elif reason == THIN:
        leader = router.models[int(router.utilities([prompt])[0].argmax())]
        undecided = (
            f"{leader} leads, and is chosen only with {policy.min_evidence:,.0f} similar training questions"
        )
    return Grounds(
        dict(zip(router.models, found.errors[0].tolist(), strict=True)),
        dict(zip(router.models, found.evidence[0].tolist(), strict=True)),
        float(found.known[0]),
        undecided,
    )


def words_that_spoke(utilities_of: Utilities, models: Sequence[str], prompt: str, model: str) -> list[Spoke]:
    """Return the words that changed the lead of `model` over the best other model most, each left out alone.

    Chinese text is tried two characters at a time. Empty for a prompt with fewer than two different words, or
    for a model that is not among `models`.
    """
    words = list(dict.fromkeys(found[0] for found in _WORD.finditer(prompt)))[:MAX_WORDS]
    if len(words) < 2 or model not in models:
        return []
    without = [re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", " ", prompt) for word in words]
    without = [
        text if text != prompt else prompt.replace(word, " ")
        for text, word in zip(without, words, strict=True)
    ]
    utilities = utilities_of([prompt, *without])
    at = list(models).index(model)
    others = np.delete(utilities, at, axis=1)
    lead = utilities[:, at] - (others.max(axis=1) if others.shape[1] else 0.0)
    found = [Spoke(word, float(lead[0] - lead[number])) for number, word in enumerate(words, start=1)]
    return sorted(found, key=lambda one: -abs(one.lead))[:SHOWN_WORDS]


def receipt_days(day: date) -> list[date]:
    """Return the days on which the data point of a decision made on `day` may have been received, likeliest first.

    The gateway's clock may have been ahead of the collector's, and points wait in a spool while the collector is away.
    """
    return [day + timedelta(days=days) for days in (0, 1, -1, *range(2, MOST_DAYS_LATER + 1))]


def find_raw_line(layout: Layout, decision_id: str, day: date) -> RawLine | None:
    """Return the raw line of a decision made on `day`, None when it was not collected.

    Looks in the files of its `receipt_days`. Raises StorageError when one of them cannot be read.
    """
    wanted = msgspec.json.encode(decision_id)
    for at in receipt_days(day):
        for path in layout.raw_files(at):
            found = _in_file(path, wanted, decision_id)
            if found is not None:
                return found
    return None


def _in_file(path: Path, wanted: bytes, decision_id: str) -> RawLine | None:
    for offset, line in whole_lines(path):
        if wanted in line:
            try:
                point = json.loads(line)
            except ValueError:
                continue  # a torn line: ingest keeps it with its reason
            if isinstance(point, dict) and point.get("decision_id") == decision_id:
                served = point.get("served_model")
                return RawLine(
                    path,
                    offset,
                    line.decode(errors="replace"),
                    str(point.get("question", "")),
                    served if isinstance(served, str) else None,
                )
    return None
