"""Make one data point from the models' responses and their scores."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from flywheel_core.collect.answer import Answer
from flywheel_core.collect.question import Question
from flywheel_core.collect.sampling import Plan
from flywheel_core.collect.scoring import Scored
from flywheel_core.prompt import PROMPT_RULE
from flywheel_core.records import NULL, DataPoint, Response

Leg = tuple[Response, Scored]
"""The outcome for one model: its response, and the score of that."""


@dataclass(frozen=True, slots=True)
class Served:
    """The answer of `model` that the user already has: it is scored, but not asked for again.

    latency_ms: how long the user waited for all of it, in milliseconds; None if unknown.
    """

    model: str
    answer: Answer
    latency_ms: int | None = None


def make_point(
    question: Question,
    legs: list[Leg],
    plan: Plan,
    served: Served | None,
    *,
    timestamp: int,
    decision_id: str | None = None,
    classification: Mapping[str, Any] | None = None,
    tenant: str | None = None,
    user: str | None = None,
) -> DataPoint:
    """Return the data point of one question. Its id is the decision's, or a new one.

    timestamp: unix seconds when the models were asked; classification: the decision as JSON.
    """
    scores = {response.model: scored for response, scored in legs}
    asked = dict(plan.asked)
    if served is not None:
        asked[served.model] = 1.0
    spreads = {model: scored.spread for model, scored in scores.items() if scored.spread is not None}
    reasons = {model: scored.reason for model, scored in scores.items() if scored.reason is not None}
    return DataPoint(
        id=decision_id or uuid.uuid4().hex,
        question=question.text,
        responses={response.model: response for response, _ in legs},
        scores={model: scored.value for model, scored in scores.items()},
        timestamp=timestamp,
        classification=NULL if classification is None else msgspec.Raw(msgspec.json.encode(classification)),
        messages=question.messages(),
        prompt_rule=PROMPT_RULE,
        decision_id=decision_id,
        served_model=None if served is None else served.model,
        mode=plan.mode,
        sampling_rate=plan.sampling_rate,
        asked=asked,
        score_reasons=reasons or None,
        score_spreads=spreads or None,
        tenant=tenant,
        user=user,
    )
