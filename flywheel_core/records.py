"""The data point in its canonical form: snake_case names in a fixed order, on one line, in UTF-8.

Ranges are part of the types; they are checked when text is decoded, not when a record is constructed.
`flywheel_core/wire.py` converts the other spellings that the wire allows into this form.
"""

import hashlib
from typing import Annotated

import msgspec
from msgspec import Meta

SCHEMA_VERSION = 1
MAX_ID_CHARS = 128
MAX_MODELS = 256
"""Largest number of models in any one field of a data point."""
MAX_TIMESTAMP = 4_102_444_800
"""2100-01-01 UTC in unix seconds; a later timestamp is not accepted."""

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]

NULL = msgspec.Raw(b"null")


class Response(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One model's answer, or its failure.

    latency_ms: milliseconds, >= 0; cost: in the currency of the configured prices, >= 0. A non-null `error` means that
    the call failed. `usage` and `raw_response` hold undecoded JSON text.
    """

    model: str
    answer: str | None = None
    latency_ms: Annotated[int, Meta(ge=0)] | None = None
    error: str | None = None
    finish_reason: str | None = None
    usage: msgspec.Raw = NULL
    cost: NotNegative | None = None
    raw_response: msgspec.Raw = NULL

    @property
    def failed(self) -> bool:
        """Whether the model gave no answer: the call failed, or the answer is missing or blank."""
        return self.error is not None or self.answer is None or not self.answer.strip()


class DataPoint(msgspec.Struct, forbid_unknown_fields=True):
    """One question with the responses and scores of every model asked; docs/data.md describes the fields.

    `scores` maps model -> 0..1, or None for no score. `timestamp` is when the event happened, `received_at` when the
    collector received it, both in unix seconds. `sampling_rate` is the share of requests that were collected (0..1);
    `asked` maps model -> the probability (0..1) with which it was asked, given that this request was collected.
    `score_reasons` maps model -> why its score is missing; `score_spreads` maps model -> standard deviation of its
    repeated scores (0..1). `classification` and `messages` hold undecoded JSON text.
    """

    id: Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
    question: str
    responses: Annotated[dict[str, Response], Meta(max_length=MAX_MODELS)]
    scores: Annotated[dict[str, Share | None], Meta(max_length=MAX_MODELS)]
    timestamp: Annotated[int, Meta(ge=0, le=MAX_TIMESTAMP)]
    classification: msgspec.Raw = NULL
    messages: msgspec.Raw = NULL
    prompt_rule: str | None = None
    decision_id: str | None = None
    served_model: str | None = None
    mode: str | None = None
    sampling_rate: Share | None = None
    asked: Annotated[dict[str, Share], Meta(max_length=MAX_MODELS)] | None = None
    score_reasons: Annotated[dict[str, str], Meta(max_length=MAX_MODELS)] | None = None
    score_spreads: Annotated[dict[str, Share], Meta(max_length=MAX_MODELS)] | None = None
    tenant: str | None = None
    user: str | None = None
    source: str | None = None
    received_at: float | None = None
    schema_version: int = SCHEMA_VERSION


_ENCODER = msgspec.json.Encoder()


def encode_point(point: DataPoint) -> bytes:
    """Return the canonical line of a data point, without its newline."""
    return _ENCODER.encode(point)


def content_id(question: str, timestamp: int, responses: dict[str, Response]) -> str:
    """Return the id for a point that was sent without one: the same for every retry of the same content."""
    digest = hashlib.sha256(f"{timestamp}\n{question}".encode())
    for model in sorted(responses):
        response = responses[model]
        digest.update(f"\n{model}\n{response.error}\n{response.latency_ms}\n{response.answer}".encode())
    return f"sha256-{digest.hexdigest()[:32]}"
