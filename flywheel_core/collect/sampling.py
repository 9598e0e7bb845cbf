"""Decide by a hash of a request's id whether it is collected and which models are asked.

The same id gives the same decision on every gateway. The decision and its probabilities go into the data
point, so that an analysis can correct for what was left out.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from flywheel_core.config import Config
from flywheel_core.errors import SkippedError

MARK_HEADER = "x-flywheel-collect"
"""Header on every call that collection makes. To prevent loops, a request with it is never collected."""

TRAINING_HEADER = "x-training-mode"
"""Header with which a request asks to be collected; its value must be `true`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which models one request goes to, and why.

    models: names to ask, in declared order, including the predicted one; mode: `training`, `production` or
    `header` (the request asked to be collected); sampling_rate: share of such requests that is collected,
    0..1; asked: for every model that could be asked, the probability that it is, given that the request is
    collected.
    """

    models: tuple[str, ...]
    mode: str = "training"
    sampling_rate: float = 1.0
    asked: Mapping[str, float] = field(default_factory=dict)


def hash_share(request_id: str, purpose: str) -> float:
    """Return a number in [0, 1) that depends only on id and purpose and is uniform over ids."""
    digest = hashlib.sha256(f"{purpose}\n{request_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def plan_collection(config: Config, request_id: str, headers: Mapping[str, str], predicted: str) -> Plan:
    """Return the plan for one request; `predicted` is the model that answers or answered the user.

    `headers` are the request's, names in lower case. Raises SkippedError: `disabled`, `marked`,
    `sampled_out`.
    """
    settings = config.data_collection
    if not settings.enabled:
        raise SkippedError("disabled")
    if MARK_HEADER in headers:
        raise SkippedError("marked")
    candidates = settings.training.candidate_models
    everyone = tuple(name for name in config.declared_order() if name in candidates or name == predicted)
    certain = dict.fromkeys(everyone, 1.0)
    if settings.training_header and headers.get(TRAINING_HEADER, "").strip().lower() == "true":
        return Plan(everyone, "header", 1.0, certain)
    training = settings.mode == "training"
    rate = settings.sampling_rate if training else settings.production.sampling_rate
    if hash_share(request_id, "sample") >= rate:
        raise SkippedError("sampled_out")
    if training or not settings.production.baseline:
        return Plan(everyone, settings.mode, rate, certain)
    return _with_baseline(everyone, predicted, request_id, rate)


def _with_baseline(everyone: tuple[str, ...], predicted: str, request_id: str, rate: float) -> Plan:
    """Plan the predicted model and one other, each other one being equally probable."""
    others = [name for name in everyone if name != predicted]
    if not others:
        return Plan(everyone, "production", rate, dict.fromkeys(everyone, 1.0))
    baseline = others[int(hash_share(request_id, "baseline") * len(others))]
    asked = {name: 1.0 if name == predicted else 1.0 / len(others) for name in everyone}
    models = tuple(name for name in everyone if name in (predicted, baseline))
    return Plan(models, "production", rate, asked)
