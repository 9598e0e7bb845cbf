"""The data point in its one canonical form: snake_case, fixed order, one line, UTF-8.

Ranges stand in the types and are checked when text is decoded, not when a record is built. How the other spellings of the
wire become this form is in `flywheel_core/wire.py`.
"""

import hashlib
from typing import Annotated

import msgspec
from msgspec import Meta

SCHEMA_VERSION = 1
MAX_ID_CHARS = 128
MAX_MODELS = 256
"""Models that one data point may name in a field."""
MAX_TIMESTAMP = 4_102_444_800
"""2100-01-01 UTC: no event is later."""

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]

NULL = msgspec.Raw(b"null")


class Response(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One model's answer, or its failure.

    latency_ms: milliseconds, >= 0; cost: in the currency of the configuration, >= 0. `error` not null means that
    the call failed. `usage` and `raw_response` are kept as the JSON text that came.
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
        """Whether the model gave no answer: an error, or nothing but white space."""
        return self.error is not None or self.answer is None or not self.answer.strip()


class DataPoint(msgspec.Struct, forbid_unknown_fields=True):
    """One question with the responses and scores of every model asked; its words are those of docs/data.md.

    `scores` maps model -> 0..1, or None for no score. `timestamp` is the event's unix time in seconds; `received_at`
    the collector's. `sampling_rate` is the share of requests that were collected (0..1), `asked` maps model ->
    probability with which it was asked once this one was. `score_reasons` says of each missing score why it is
    missing; `score_spreads` maps model -> standard deviation of repeated scores. `classification` and `messages`
    are kept as the JSON text that came.
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
    """The canonical line of a data point, without its newline."""
    return _ENCODER.encode(point)


def content_id(question: str, timestamp: int, responses: dict[str, Response]) -> str:
    """The id of a point that came without one: the same for every retry of the same content."""
    digest = hashlib.sha256(f"{timestamp}\n{question}".encode())
    for model in sorted(responses):
        response = responses[model]
        digest.update(f"\n{model}\n{response.error}\n{response.latency_ms}\n{response.answer}".encode())
    return f"sha256-{digest.hexdigest()[:32]}"
