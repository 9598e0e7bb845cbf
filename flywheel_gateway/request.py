"""One chat completion request, parsed once for routing, forwarding and collection."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from flywheel_core.errors import RequestError
from flywheel_core.prompt import extract_prompt

MAX_PARTS = 400_000
"""Most strings, commas and opening brackets in a body: decoded, each may take a hundred bytes."""

_PART = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[,\[{]', re.DOTALL)
"""A string, or one of the other parts.

A string without an end matches too: otherwise the search would start again at each quote inside it.
"""
_OPENING = (b'"', b",", b"[", b"{")
_ANY = msgspec.json.Decoder()
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat body.

    body: decoded; prompt: the text to route by, empty without a question; streamed: its `stream`.
    """

    raw: bytes
    body: dict[str, Any]
    prompt: str
    streamed: bool

    @property
    def several(self) -> bool:
        """Whether more than one answer is asked for."""
        answers = self.body.get("n")
        return isinstance(answers, int) and answers > 1

    def for_model(
        self, name: str, *, extra: Mapping[str, Any] | None = None, stream_usage: bool = False
    ) -> bytes:
        """Return the body with `model` set to `name`, the fields of `extra`, and every other field unchanged.

        stream_usage: a stream whose client says nothing about token counts is asked for them. Raises RequestError
        `body_unreadable` for a body nested so deep that it could be read only where fewer functions were being called.
        """
        try:
            fields = _FIELDS.decode(self.raw)
        except RecursionError:
            raise _too_deep() from None
        given = {"model": name, **(extra or {})}
        options = self.body.get("stream_options") or {}
        if stream_usage and self.streamed and isinstance(options, dict) and "include_usage" not in options:
            given["stream_options"] = {**options, "include_usage": True}
        fields |= {key: msgspec.Raw(_ENCODER.encode(value)) for key, value in given.items()}
        pieces = [
            piece for key, value in fields.items() for piece in (b",", _ENCODER.encode(key), b":", value)
        ]
        return b"".join((b"{", *pieces[1:], b"}"))  # the encoder's buffer would grow to twice the size


def parse_chat(raw: bytes, *, conversation: bool) -> ChatRequest:
    """Parse a chat body. conversation: as in `extract_prompt`. Raises RequestError `body_unreadable`."""
    body = parse_object(raw)
    prompt = extract_prompt(body, conversation=conversation).text
    return ChatRequest(raw, body, prompt, body.get("stream") is True)


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in a body of at most `MAX_PARTS` parts.

    Raises RequestError `body_unreadable` with the reason.
    """
    if sum(map(raw.count, _OPENING)) > MAX_PARTS and _has_too_many_parts(raw):
        raise RequestError("body_unreadable", "the body has too many values")
    try:
        body = _ANY.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RequestError("body_unreadable", f"the body is not JSON: {error}") from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(body, dict):
        raise RequestError("body_unreadable", "the body is not a JSON object")
    return body


def _too_deep() -> RequestError:
    return RequestError("body_unreadable", "the body is nested too deep")


def _has_too_many_parts(raw: bytes) -> bool:
    """Return whether there are over MAX_PARTS parts, scanning no further than needed and using no memory."""
    return next(islice(_PART.finditer(raw), MAX_PARTS, None), None) is not None


def user_hash(user: str | None, secret: bytes | None) -> str | None:
    """Return the pseudonym of a user in a data point: 32 hex digits of an HMAC-SHA256.

    None without a user or a secret.
    """
    if user is None or secret is None:
        return None
    return hmac.new(secret, user.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:32]
