"""The data point in its one canonical form: snake_case, fixed order, one line, UTF-8.

How the other spellings of the wire become this form is in `flywheel_core/wire.py`.
"""

import hashlib

import msgspec

SCHEMA_VERSION = 1

NULL = msgspec.Raw(b"null")


class Response(msgspec.Struct, forbid_unknown_fields=True):
    """One model's answer, or its failure.

    latency_ms: milliseconds, >= 0; cost: in the currency of the configuration, >= 0. `error` not null means that
    the call failed. `usage` and `raw_response` are kept as the JSON text that came.
    """

    model: str
    answer: str | None = None
    latency_ms: int | None = None
    error: str | None = None
    finish_reason: str | None = None
    usage: msgspec.Raw = NULL
    cost: float | None = None
    raw_response: msgspec.Raw = NULL

    @property
    def failed(self) -> bool:
        """Whether the model gave no answer: an error, or nothing but white space."""
        return self.error is not None or self.answer is None or not self.answer.strip()


class DataPoint(msgspec.Struct, forbid_unknown_fields=True):
    """One question with the responses and scores of every model asked; see DESIGN vocabulary in docs/data.md.

    `scores` maps model -> 0..1, or None for no score. `timestamp` is the event's unix time in seconds; `received_at`
    the collector's. `sampling_rate` is the share of requests that were collected (0..1), `asked` maps model ->
    probability with which it was asked once this one was. `score_reasons` says of each missing score why it is
    missing; `score_spreads` maps model -> standard deviation of repeated scores. `classification` and `messages`
    are kept as the JSON text that came.
    """

    id: str
    question: str
    responses: dict[str, Response]
    scores: dict[str, float | None]
    timestamp: int
    classification: msgspec.Raw = NULL
    messages: msgspec.Raw = NULL
    prompt_rule: str | None = None
    decision_id: str | None = None
    served_model: str | None = None
    mode: str | None = None
    sampling_rate: float | None = None
    asked: dict[str, float] | None = None
    score_reasons: dict[str, str] | None = None
    score_spreads: dict[str, float] | None = None
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
