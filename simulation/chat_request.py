"""What a chat completion request asks for, as far as the simulated models take notice of it."""

from collections.abc import Collection
from typing import Any

import msgspec
from starlette.responses import Response

from simulation.replies import error_reply

_MAX_CHOICES = 8


class ChatRequest(msgspec.Struct):
    """The fields that are read; all others are ignored."""

    model: str
    messages: list[dict[str, Any]]
    stream: bool = False
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream_options: dict[str, Any] | None = None

    @property
    def choices(self) -> int:
        """Number of answers asked for."""
        return 1 if self.n is None else self.n

    @property
    def limit(self) -> int | None:
        """Most tokens of an answer; None for no limit."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def with_usage(self) -> bool:
        """Whether a stream should end with a usage chunk."""
        return bool((self.stream_options or {}).get("include_usage"))


def read_chat(body: bytes, models: Collection[str]) -> ChatRequest | Response:
    """Return the request of a body, or an error response if it is unreadable or asks for what there is not."""
    try:
        asked = msgspec.json.decode(body, type=ChatRequest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return error_reply(400, "invalid_request", f"the body is no chat completion request: {error}")
    if asked.model not in models:
        return error_reply(404, "model_not_found", f"there is no model {asked.model!r}; see /v1/models")
    if not 1 <= asked.choices <= _MAX_CHOICES or (asked.limit is not None and asked.limit < 1):
        return error_reply(400, "invalid_request", f"n is 1 to {_MAX_CHOICES}, max_tokens at least 1")
    return asked
