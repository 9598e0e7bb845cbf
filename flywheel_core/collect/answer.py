"""Read a model's answer from the body of a completion, and tell the kinds of failure apart."""

import codecs
import re
from typing import Any

import msgspec

from flywheel_core.prompt import clean
from flywheel_core.records import NULL
from flywheel_core.wire_values import MAX_DEPTH, is_deeper

ANSWER_ERRORS = {
    "http_status": "the status is not 200",
    "redirect": "the status is a redirect; redirects are not followed",
    "content_type": "the body is not JSON by its Content-Type",
    "malformed_body": "the body is not a chat completion",
    "body_too_large": "the body, as sent or unpacked, or the text of a stream is larger than 4 MiB, or a stream has over 100,000 lines",
    "no_choices": "the completion has no choices",
    "empty_answer": "the answer is empty or white space only",
    "tool_call": "the answer is a call of a tool, not text",
    "refused": "the model refused to answer",
    "content_filter": "the answer was stopped by a content filter",
    "truncated": "the answer was cut off: its finish_reason says so (length, abort, error), or a stream ended early",
    "address_blocked": "the model's address is link-local or a cloud's metadata service, or private where that is not allowed",
    "connect_failed": "no connection",
    "connection_lost": "the connection broke before the answer was complete",
    "connect_timeout": "no connection within models.<name>.connect_timeout",
    "timeout": "no whole answer within models.<name>.timeout, or within the time left of point_timeout",
    "reported": "another gateway asked the model and told of a failure, in words of its own",
}
"""What a response's `error` starts with: code -> meaning. Details may follow the code after a colon."""

MAX_ANSWER_BYTES = 4_194_304
"""Largest accepted response body of a model, decompressed, in bytes."""

_CUT_OFF = frozenset(
    (
        "length",
        "max_tokens",
        "model_context_window_exceeded",
        "abort",
        "error",
        "insufficient_system_resource",
    )
)
"""Finish reasons of an answer that is not whole: a limit was reached, or the service broke off."""
_MAX_DETAIL = 300
_SURELY_GIVEN = 64
"""Longer JSON texts, in bytes, count as given without being decoded, even if they are white space."""
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""The escape of half a surrogate pair begins so."""
_HALVES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
"""An escaped backslash, an escaped pair, or an escaped half without the other, which alone has six bytes."""
_MAX_RAW_DEPTH = MAX_DEPTH - 4  # a data point nests it four levels deep


class Answer(msgspec.Struct):
    """One model's answer or failure.

    text: what the model wrote, even if incomplete; error: None, or a code of `ANSWER_ERRORS` with details;
    usage: the JSON object as received, or null; raw: the whole body as JSON on one line, or null.
    """

    text: str | None = None
    finish_reason: str | None = None
    error: str | None = None
    usage: msgspec.Raw = NULL
    raw: msgspec.Raw = NULL


class _Message(msgspec.Struct):
    content: Any = None
    refusal: msgspec.Raw = NULL
    tool_calls: msgspec.Raw = NULL
    function_call: msgspec.Raw = NULL


class _Choice(msgspec.Struct):
    message: _Message | None = None
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None  # only the first is decoded
    usage: msgspec.Raw = NULL


class _Failure(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw(b"")
    message: msgspec.Raw = msgspec.Raw(b"")


_FAILURE = msgspec.json.Decoder(_Failure)
_CHOICE = msgspec.json.Decoder(_Choice)
_COMPLETION = msgspec.json.Decoder(_Completion)


def read_answer(status: int, content_type: str | None, body: bytes) -> Answer:
    """Return the answer in the reply to a non-streamed chat completion. Never raises."""
    if 300 <= status < 400:
        return Answer(error=f"redirect: {status}")
    if status != 200:
        return Answer(error=f"http_status: {status}{reason_in(body)}", raw=storable(body))
    if not is_json_type(content_type):
        return Answer(error=f"content_type: {(content_type or 'none')[:100]}")
    body = lenient(body)
    try:
        body.decode()
        completion = _COMPLETION.decode(body)
        choice = _CHOICE.decode(completion.choices[0]) if completion.choices else None
    except (ValueError, RecursionError) as error:
        return Answer(error=f"malformed_body: {error}"[:_MAX_DETAIL])
    raw = storable(body)
    usage = completion.usage if completion.usage is NULL else storable(completion.usage)
    if choice is None:
        return Answer(error="no_choices", usage=usage, raw=raw)
    message = choice.message or _Message()
    content = message.content
    text = "\n".join(texts_in(content)) if isinstance(content, str | list) else None
    called = is_given(message.tool_calls) or is_given(message.function_call)
    failure = failure_of(text, choice.finish_reason, called=called, refused=is_given(message.refusal))
    return Answer(text, choice.finish_reason, failure, usage, raw)


def observed_answer(
    text: str | None, finish_reason: str | None, error: str | None, usage: msgspec.Raw = NULL
) -> Answer:
    """Return an answer that was read elsewhere; if cut off, empty or refused, it is a failure.

    error: why there is no answer, in any words; an empty string, the zero value of a Go client, is no error.
    An error that does not start with a code of `ANSWER_ERRORS` becomes `reported`: the code is a metric
    label, so their number must be bounded.
    """
    if not error:
        called = finish_reason in ("tool_calls", "function_call")
        error = failure_of(text, finish_reason, called=called, refused=False)
    elif error.partition(":")[0] not in ANSWER_ERRORS:
        error = f"reported: {error}"
    return Answer(text, finish_reason, error and error[:_MAX_DETAIL], usage)


def lenient(text: bytes) -> bytes:
    """Return JSON text without what clients' JSON readers take and msgspec does not.

    A byte order mark is left out, and half surrogate pairs become U+FFFD.
    """
    text = text.removeprefix(codecs.BOM_UTF8)
    if b"\\" not in text or _HALF.search(text) is None:
        return text
    return _HALVES.sub(lambda found: b"\\ufffd" if len(found[0]) == 6 else found[0], text)


def is_json_type(content_type: str | None) -> bool:
    """Return whether a Content-Type says that the body is JSON."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def is_event_stream(content_type: str | None) -> bool:
    """Return whether a Content-Type says that the body is a stream of server-sent events."""
    return (content_type or "").partition(";")[0].strip().lower() == "text/event-stream"


def failure_of(text: str | None, finish_reason: str | None, *, called: bool, refused: bool) -> str | None:
    """Return why an answer cannot be scored, or None."""
    if finish_reason in _CUT_OFF:
        return f"truncated: finish_reason {finish_reason}"
    if finish_reason == "content_filter":
        return "content_filter"
    if text is not None and text.strip():
        return None
    if called:
        return "tool_call"
    return "refused" if refused else "empty_answer"


def is_given(value: msgspec.Raw) -> bool:
    """Return whether a JSON text is neither null nor empty; long texts are not decoded."""
    if len(memoryview(value)) > _SURELY_GIVEN:
        return True
    try:
        return bool(msgspec.json.decode(value))
    except ValueError:  # valid JSON with a number too large for a float
        return True


def texts_in(content: object) -> list[str]:
    """Return the texts of a message's content or of a piece of it, which is a string or a list of parts."""
    if isinstance(content, str):
        return [clean(content)]
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return [clean(text) for text in texts if isinstance(text, str)]


def reason_in(body: bytes) -> str:
    """Return the message in an error body, with a leading space; empty if it has none.

    Reads OpenAI's error format.
    """
    try:
        said = _FAILURE.decode(body)
        if bytes(said.error).startswith(b"{"):
            text = bytes(_FAILURE.decode(said.error).message)
        else:
            text = bytes(said.error) or bytes(said.message)
        message = msgspec.json.decode(text) if text.startswith(b'"') else None
    except (ValueError, RecursionError):
        return ""
    return f" {clean(message)[:_MAX_DETAIL]}" if isinstance(message, str) else ""


def storable(body: bytes | msgspec.Raw) -> msgspec.Raw:
    """Return a JSON object as one line that a data point can hold, or null if it is none."""
    text = bytes(body).strip()
    if not text.startswith(b"{"):
        return NULL
    try:
        text.decode()
        brackets = text.count(b"{") + text.count(b"[")
        line = msgspec.json.format(text, indent=-1)  # raises for anything but JSON
        return NULL if brackets > _MAX_RAW_DEPTH and is_deeper(line, _MAX_RAW_DEPTH) else msgspec.Raw(line)
    except (ValueError, RecursionError):
        return NULL
