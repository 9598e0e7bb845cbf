"""Whether a request is collected, and which models it goes to: decided by a hash of its id, never by chance.

The same id always gives the same decision, on every gateway; what was decided, and with which probabilities, goes
into the data point, so that what was left out can be weighed in.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from flywheel_core.config import Config
from flywheel_core.errors import SkippedError

MARK_HEADER = "x-flywheel-collect"
"""Header on every call that collection makes. A request that carries it is never collected: no recursion."""

TRAINING_HEADER = "x-training-mode"
"""Header by which one request asks to be collected, with the value `true`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which models one request goes to, and why.

    models: names to ask, in declared order, the predicted one among them. mode: `training`, `production` or
    `header` (the request asked for it). sampling_rate: share of such requests that are collected, 0..1. asked: for
    every model that could be asked the probability with which it is, given that the request is collected.
    """

    models: tuple[str, ...]
    mode: str = "training"
    sampling_rate: float = 1.0
    asked: Mapping[str, float] = field(default_factory=dict)


def hash_share(request_id: str, purpose: str) -> float:
    """A number in 0..1 (1 excluded) that depends on id and purpose alone and is spread evenly over ids."""
    digest = hashlib.sha256(f"{purpose}\n{request_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def plan_collection(config: Config, request_id: str, headers: Mapping[str, str], predicted: str) -> Plan:
    """The plan for one request; `predicted` is the model that answers or answered the user.

    `headers` are the request's, names in lower case. Raises SkippedError: `disabled`, `marked`, `sampled_out`.
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
    """The predicted model and one other, each other with the same probability."""
    others = [name for name in everyone if name != predicted]
    if not others:
        return Plan(everyone, "production", rate, dict.fromkeys(everyone, 1.0))
    baseline = others[int(hash_share(request_id, "baseline") * len(others))]
    asked = {name: 1.0 if name == predicted else 1.0 / len(others) for name in everyone}
    models = tuple(name for name in everyone if name in (predicted, baseline))
    return Plan(models, "production", rate, asked)
