"""The gateway's own endpoints: chat completions, models, routing alone, collection alone."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import msgspec
from starlette.types import Send

from flywheel_core.collect.answer import Answer, observed_answer, storable
from flywheel_core.collect.point import Served
from flywheel_core.errors import RequestError
from flywheel_gateway.collection import COLLECTING, Sender
from flywheel_gateway.gateway import Gateway
from flywheel_gateway.names import model_entry, model_list
from flywheel_gateway.replies import send_json
from flywheel_gateway.request import ChatRequest, parse_chat, parse_object

MAX_DECISION_ID = 128

LARGE_BODY = 128 * 1024
"""Bodies above this many bytes are parsed in a thread.

Parsing one takes milliseconds, or up to a second if it consists of tiny values.
"""

_Request = TypeVar("_Request")


async def chat(gateway: Gateway, body: bytes, sender: Sender, send: Send) -> None:
    """Handle POST /v1/chat/completions."""
    await gateway.chat(await _read_chat(gateway, body), sender, send)


async def models(gateway: Gateway, send: Send) -> None:
    """Handle GET /v1/models."""
    await send_json(send, 200, model_list(gateway.setup.targets))


async def model(name: str, send: Send) -> None:
    """Handle GET /v1/models/{name} for a model that is in the list."""
    await send_json(send, 200, model_entry(name))


async def route(gateway: Gateway, body: bytes, sender: Sender, send: Send) -> None:
    """Handle POST /v1/route: decide about a chat body or `{"prompt": text}` without asking a model."""
    prompt = (await _read_chat(gateway, body)).prompt
    if not prompt:
        raise RequestError("body_unreadable", "the body has no messages with a question, and no prompt")
    decision_id, decision = await gateway.route(prompt, sender)
    answer = {
        "decision_id": decision_id,
        "model": decision.model,
        "category": decision.category,
        "confidence": decision.confidence,
        "reason": decision.reason,
        "router_version": decision.router_version,
        "scores": dict(decision.scores),
    }
    await send_json(send, 200, answer)


async def observe(gateway: Gateway, body: bytes, sender: Sender, send: Send) -> None:
    """Handle POST /v1/observe: collect a request that was answered elsewhere, reusing its answer."""
    observed = await _read(parse_object, body)
    request = observed.get("request")
    if not isinstance(request, dict):
        raise RequestError(
            "body_unreadable", "request is not an object: it takes the chat body as it was sent"
        )
    served = Served(
        _model(gateway, observed.get("model")), _answer(observed), _latency(observed.get("latency_ms"))
    )
    decision_id = observed.get("decision_id")
    if decision_id == "":
        decision_id = None  # the zero value that a Go client sends for an id it does not have
    if decision_id is not None and not (isinstance(decision_id, str) and len(decision_id) <= MAX_DECISION_ID):
        raise RequestError(
            "body_unreadable", f"decision_id is not a text of at most {MAX_DECISION_ID} characters"
        )
    at, skipped = gateway.observe(request, served, sender, decision_id)
    reason = COLLECTING if skipped is None else skipped
    await send_json(send, 202, {"decision_id": at, "collected": skipped is None, "reason": reason})


async def _read_chat(gateway: Gateway, body: bytes) -> ChatRequest:
    """Return the request in a body, parsed as `_read` does."""
    conversation = gateway.setup.config.data_collection.multi_turn
    return await _read(partial(parse_chat, conversation=conversation), body)


async def _read(parse: Callable[[bytes], _Request], body: bytes) -> _Request:
    """Return `parse(body)`, computed in a thread for a large body so that other requests are not held up."""
    return parse(body) if len(body) <= LARGE_BODY else await asyncio.to_thread(parse, body)


def _model(gateway: Gateway, wanted: object) -> str:
    """Return the observed model: any configured one, even without an address. Raises RequestError."""
    known = gateway.setup.config.models
    if not isinstance(wanted, str) or wanted == "":
        raise RequestError(
            "body_unreadable", "model is missing: it takes the name of the model that answered"
        )
    if wanted not in known:
        raise RequestError(
            "model_unknown", f"there is no model {wanted[:200]!r}; known are {', '.join(known)}"
        )
    return wanted


def _answer(observed: dict[str, Any]) -> Answer:
    """Return the observed answer: text, or null together with an `error`.

    Raises RequestError `body_unreadable`.
    """
    text, error = observed.get("answer"), observed.get("error")
    finish_reason, usage = observed.get("finish_reason"), observed.get("usage")
    for name, value in (("answer", text), ("error", error), ("finish_reason", finish_reason)):
        if value is not None and not isinstance(value, str):
            raise RequestError("body_unreadable", f"{name} is neither text nor null")
    if usage is not None and not isinstance(usage, dict):
        raise RequestError("body_unreadable", "usage is neither an object nor null")
    try:
        # Nested deeper than a point may be, it would cost the whole point.
        counts = storable(msgspec.json.encode(usage))
    except RecursionError:  # it was read in a thread, where Python permits more nesting
        raise RequestError("body_unreadable", "usage is nested too deep") from None
    return observed_answer(text, finish_reason, error, counts)


def _latency(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 86_400_000:
        raise RequestError("body_unreadable", "latency_ms is not a number of milliseconds")
    return round(value)
