"""What a request asks, whether it can be collected, and the body that goes to every model."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from flywheel_core.errors import SkippedError, UsageError
from flywheel_core.prompt import Prompt, extract_prompt
from flywheel_core.records import NULL
from flywheel_core.wire_fields import MAX_QUESTION_BYTES

MAX_REQUEST_BYTES = 1024 * 1024
"""Largest request that is collected: it is held and sent once per model. Most are far smaller."""

_OWN_FIELDS = frozenset({"model", "stream", "stream_options", "n"})
"""Fields of the request that each call sets itself or omits."""

_AS_STREAM = b'"stream":true,"stream_options":{"include_usage":true}'
_FOR_THE_CLIENT = {"store": True, "service_tier": "priority"}
"""Field -> value that is not repeated: the client wants its own answer kept at the service, or pays more for speed."""
_OF_WHAT_IS_STORED = "metadata"
"""Field that describes a stored answer. OpenAI refuses it in a request whose answer is not to be stored."""


class Question:
    """One request as collection sees it.

    text: the question for scorer and router; turns: `(role, text)` of every message.

    Raises SkippedError when the request cannot be collected, UsageError when it is not JSON.
    """

    def __init__(self, request: Mapping[str, Any] | str, *, multi_turn: bool = False) -> None:
        if isinstance(request, str):
            request = {"messages": [{"role": "user", "content": request}]}
        if not (isinstance(request, Mapping) and isinstance(request.get("messages"), list)):
            raise SkippedError("not_chat")
        prompt = extract_prompt(request, conversation=multi_turn)
        _check(prompt, multi_turn=multi_turn)
        self.text = prompt.text
        self.turns = prompt.turns
        rest = {
            name: value
            for name, value in request.items()
            if name not in _OWN_FIELDS and (name not in _FOR_THE_CLIENT or value != _FOR_THE_CLIENT[name])
        }
        if request.get("store") is True:
            rest.pop(_OF_WHAT_IS_STORED, None)
        self._rest = _encode(rest)
        if len(self._rest) > MAX_REQUEST_BYTES:
            raise SkippedError("request_too_large")

    def body_for(
        self, upstream_name: str, extra: Mapping[str, Any] | None = None, *, streamed: bool = False
    ) -> bytes:
        """Return the complete request body for one model: its upstream name, one choice.

        extra: fields that replace the request's own; streamed: ask for a stream, with its token counts.
        """
        rest = _encode({**json.loads(self._rest), **extra}) if extra else self._rest
        how = _AS_STREAM if streamed else b'"stream":false'
        return b'{"model":%b,%b,%b' % (msgspec.json.encode(upstream_name), how, rest[1:])

    def messages(self) -> msgspec.Raw:
        """Return the messages as role and text if there is more than the question, otherwise null."""
        if len(self.turns) < 2:
            return NULL
        return msgspec.Raw(
            msgspec.json.encode([{"role": role, "content": text} for role, text in self.turns])
        )


def _check(prompt: Prompt, *, multi_turn: bool) -> None:
    if not prompt.text:
        raise SkippedError("empty_prompt")
    if prompt.features and not multi_turn:
        raise SkippedError(prompt.features[0])
    if len(prompt.text.encode()) > MAX_QUESTION_BYTES:
        raise SkippedError("question_too_long")


def _encode(request: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(request)
    except UnicodeEncodeError:
        return json.dumps(request).encode()  # lone surrogates are sent as the escapes that they arrived as
    except (TypeError, RecursionError) as error:
        raise UsageError(f"the request is not JSON: {error}") from None
