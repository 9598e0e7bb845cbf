"""Which headers pass: to the model without the client's secrets, back without the connection's own."""

import re

from flywheel_core.collect.calls import MODEL_HEADERS, header_text
from flywheel_core.collect.sampling import MARK_HEADER, TRAINING_HEADER
from flywheel_core.errors import RequestError
from flywheel_core.learn.decision import Decision

RawHeaders = list[tuple[bytes, bytes]]
"""Headers in ASGI's form, with lower-case names."""

_CONNECTION = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Headers that concern one connection only, which no proxy passes on."""

_ACCOUNT = frozenset((b"openai-organization", b"openai-project"))
"""Headers that name an account: OpenAI refuses a key with those of another one."""

_KEPT_FROM_MODELS = (
    _CONNECTION
    | _ACCOUNT
    | {
        b"host",
        b"content-length",
        b"expect",
        b"accept-encoding",
        b"authorization",
        b"api-key",
        b"x-api-key",
        b"cookie",
        *(name.encode() for name in MODEL_HEADERS),
        MARK_HEADER.encode(),
        TRAINING_HEADER.encode(),
    }
)
"""Headers that stop here: the client's secrets and account, the gateway's own, and those meant for it alone."""

_KEPT_FROM_CLIENTS = _CONNECTION | _ACCOUNT | {b"set-cookie", b"alt-svc", b"strict-transport-security"}
"""Headers of a response that stop here: those that speak for the model's own site or name the gateway's account.

A client would take them for the gateway's: it would send cookies that stop here, or look for HTTP/3 at its
address.
"""

_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""Bytes that no header may hold. aiohttp takes some of them from a model, and uvicorn refuses to send them."""

_READABLE = (b"gzip", b"identity")
"""Content encodings of a response that collection can read."""


def to_model(
    received: RawHeaders, *, model: str, key: str | None, marks: str, untouched: bool = False
) -> RawHeaders:
    """Return the headers of the upstream request.

    model: name of the chosen model; key: the model's own key, if it has one; marks: see `check_loop`;
    untouched: the body is forwarded as received and the gateway does not read the response, so both may have
    any content encoding.
    """
    dropped = _KEPT_FROM_MODELS | _named_by_connection(received)
    if not untouched:
        dropped = dropped | {b"content-encoding"}
    sent = [header for header in received if header[0] not in dropped]
    sent.append((b"accept-encoding", _encoding(received, untouched)))
    sent.extend((name.encode(), _ascii(model)) for name in MODEL_HEADERS)
    sent.append((MARK_HEADER.encode(), marks.encode("latin-1")))
    if key is not None:
        sent.append((b"authorization", b"Bearer " + key.encode()))
    return sent


def to_client(received: RawHeaders) -> RawHeaders:
    """Return the headers of an upstream response for the client.

    Those that speak for the connection, the model's site or the gateway's account are left out, as are any
    x-flywheel-* and those with control characters.
    """
    dropped = _KEPT_FROM_CLIENTS | _named_by_connection(received)
    return [
        (name, value)
        for name, value in received
        if name not in dropped and name[:11] != b"x-flywheel-" and not _CONTROLS.search(value)
    ]


def of_decision(decision: Decision, decision_id: str, model: str | None) -> RawHeaders:
    """Return the response headers that say which model answered and why; `model` is None if none did."""
    answered = [] if model is None else [(b"x-flywheel-model", _ascii(model))]
    return [
        *answered,
        (b"x-flywheel-category", _ascii(decision.category)),
        (b"x-flywheel-confidence", f"{decision.confidence:.4g}".encode()),
        (b"x-flywheel-reason", decision.reason.encode()),
        (b"x-flywheel-router", _ascii(decision.router_version or "none")),
        (b"x-flywheel-decision", decision_id.encode()),
    ]


def check_loop(received: RawHeaders, instance: str) -> str:
    """Return the loop mark of the upstream request: the gateways that it has passed, `instance` last.

    Raises RequestError `loop_detected` for a request that has already passed here, because a model's address
    leads back to this gateway.
    """
    passed = [value.decode("latin-1") for name, value in received if name == MARK_HEADER.encode()]
    marks = ",".join(passed)
    if instance in marks:
        raise RequestError("loop_detected")
    return f"{marks},{instance}" if marks else instance


def value_of(received: RawHeaders, name: bytes) -> str | None:
    """Return the first value of a header, or None."""
    return next((value.decode("latin-1") for found, value in received if found == name), None)


def _named_by_connection(received: RawHeaders) -> set[bytes]:
    """Return the headers that the Connection header declares to be of this connection only."""
    return {
        token.strip().lower()
        for name, value in received
        if name == b"connection"
        for token in value.split(b",")
    }


def _encoding(received: RawHeaders, untouched: bool) -> bytes:
    """Return the Accept-Encoding to send. There must be one: without it a server may choose any encoding."""
    wanted = b",".join(value for name, value in received if name == b"accept-encoding")
    if untouched:
        return wanted or b"identity"
    tokens = [token.strip() for token in wanted.split(b",")]
    taken = [token for token in tokens if token.partition(b";")[0].strip().lower() in _READABLE]
    return b", ".join(taken) or b"identity"


def _ascii(text: str) -> bytes:
    """Return the bytes of `text` as a header value: see `header_text`."""
    return header_text(text).encode()
