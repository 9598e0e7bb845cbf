"""The gateway's OpenAPI description."""

from importlib.metadata import version
from typing import Any

from flywheel_core.errors import REQUEST_CODES, SKIP_CODES
from flywheel_core.serve.docs import in_groups
from flywheel_gateway.collection import COLLECTING, GATEWAY_SKIPS
from flywheel_gateway.routing import REASONS

_REFUSALS = (400, 401, 403, 408, 413, 415, 431, 500, 503)
_TEXT_OR_NULL = {"type": "string", "nullable": True}


def describe() -> dict[str, Any]:
    """Return the description of the gateway's own endpoints."""
    return {
        "openapi": "3.0.3",  # the installed Swagger UI shows no later one
        "info": {
            "title": "Flywheel gateway",
            "version": version("flywheel"),
            "description": (
                "The OpenAI API in front of several models, each question to the model that answers it best. "
                "Every other path below /v1 is passed on to the default model's address as it is."
            ),
        },
        "paths": in_groups(
            {
                "/v1/chat/completions": {"post": _chat()},
                "/v1/models": {"get": _get("The models, and auto", "Models", security=True)},
                "/v1/models/{model}": {"get": _model()},
                "/v1/route": {"post": _route()},
                "/v1/observe": {"post": _observe()},
                "/health": {"get": _plain("Alive", "Always `OK` while the process runs.")},
                "/ready": {"get": _get("Able to serve, and with which router", "Ready")},
                "/metrics": {"get": _plain("Metrics", "Counters and gauges in the format of Prometheus.")},
            },
            "Questions",
        ),
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "`<key_id>.<secret>`"}
            },
            "schemas": _schemas(),
        },
    }


def _chat() -> dict[str, Any]:
    reasons = "; ".join(f"`{reason}`: {meaning}" for reason, meaning in REASONS.items())
    sentences = {
        "model": "the model that answered",
        "category": "its domain",
        "confidence": "0..1",
        "reason": reasons,
        "router": "version of the router, or `none`",
        "decision": "id of the decision",
    }
    headers = {
        f"x-flywheel-{name}": {"description": sentence, "schema": {"type": "string"}}
        for name, sentence in sentences.items()
    }
    stream = {"text/event-stream": {"schema": {"type": "string"}}}
    answered = {"description": "The model's answer as it came.", "headers": headers}
    return {
        "summary": "Answer a conversation",
        "operationId": "chat",
        "description": (
            "`model` absent, `auto` or `higress/auto` lets the gateway choose; a model's name asks that model. What a "
            "model answers, errors included, comes as it is. With the header `X-Training-Mode: true` the request is "
            "collected whatever the mode."
        ),
        "security": [{}, {"key": []}],
        "parameters": [
            {"name": "X-Training-Mode", "in": "header", "schema": {"type": "string", "enum": ["true"]}},
            {"name": "X-Request-Id", "in": "header", "schema": {"type": "string", "maxLength": 200}},
        ],
        "requestBody": _body("Chat"),
        "responses": {
            "200": {**answered, "content": {**_json_any(), **stream}},
            **_refusals(404, 502, 504, 508),
            "default": {"description": "What the model answered.", "content": _json_any()},
        },
    }


def _model() -> dict[str, Any]:
    name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    elsewhere = {"description": "What the default model's address says of a name that is not in the list."}
    described = _get("One of the models", "Model", security=True)
    described["responses"] |= {**_refusals(502, 504, 508), "default": elsewhere}
    return {**described, "parameters": [name]}


def _route() -> dict[str, Any]:
    return {
        "summary": "Decide without asking a model",
        "operationId": "route",
        "description": "Takes a chat body, or `prompt` alone. For gateways that forward by themselves.",
        "security": [{}, {"key": []}],
        "requestBody": _body("Route"),
        "responses": {"200": _answer("The decision.", "Decision"), **_refusals()},
    }


def _observe() -> dict[str, Any]:
    codes = "; ".join(f"`{code}`: {meaning}" for code, meaning in (GATEWAY_SKIPS | SKIP_CODES).items())
    return {
        "summary": "Collect what was answered elsewhere",
        "operationId": "observe",
        "description": (
            f"The given answer is reused; the other models are asked in the background. `reason` is `{COLLECTING}`, or "
            f"why the request is not collected: {codes}."
        ),
        "security": [{}, {"key": []}],
        "requestBody": _body("Observation"),
        "responses": {"202": _answer("Taken.", "Observed"), **_refusals(404)},
    }


def _plain(summary: str, description: str) -> dict[str, Any]:
    text = {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {"summary": summary, "responses": {"200": text}}


def _get(summary: str, schema: str, *, security: bool = False) -> dict[str, Any]:
    if not security:
        return {"summary": summary, "responses": {"200": _answer(summary, schema)}}
    responses = {"200": _answer(summary, schema), **_refusals()}
    return {"summary": summary, "security": [{}, {"key": []}], "responses": responses}


def _body(schema: str) -> dict[str, Any]:
    return {"required": True, "content": _json(schema)}


def _answer(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": _json(schema)}


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _json_any() -> dict[str, Any]:
    return {"application/json": {"schema": {"type": "object"}}}


def _refusals(*further: int) -> dict[str, Any]:
    """Return the gateway's own error responses, by status."""
    found = {}
    for status in sorted((*_REFUSALS, *further)):
        lines = [f"`{code}`: {meaning}" for code, (at, meaning) in REQUEST_CODES.items() if at == status]
        found[str(status)] = _answer("; ".join(lines), "Refused")
    return found


def _schemas() -> dict[str, Any]:
    part = {"type": "object", "properties": {"type": {"type": "string"}, "text": {"type": "string"}}}
    message = {
        "type": "object",
        "required": ["role"],
        "properties": {
            "role": {"type": "string"},
            "content": {"anyOf": [_TEXT_OR_NULL, {"type": "array", "items": part}]},
        },
    }
    chat = {
        "type": "object",
        "required": ["messages"],
        "properties": {
            "model": _TEXT_OR_NULL,
            "messages": {"type": "array", "items": message},
            "stream": {"type": "boolean", "nullable": True},
            "user": {"type": "string"},
            "safety_identifier": {"type": "string"},
        },
    }
    model = _object(
        id={"type": "string"},
        object={"type": "string", "enum": ["model"]},
        created={"type": "integer"},
        owned_by={"type": "string"},
    )
    decision_id = {"type": "string", "minLength": 1, "maxLength": 128}
    said = {"router_version": _TEXT_OR_NULL, "code": {"type": "string"}, "message": {"type": "string"}}
    refused = {"type": "object", "nullable": True, "properties": said}
    return {
        "Chat": chat,
        "Models": _object(
            object={"type": "string", "enum": ["list"]}, data={"type": "array", "items": model}
        ),
        "Model": model,
        "Ready": _object(
            status={"type": "string", "enum": ["ready"]},
            router_version=_TEXT_OR_NULL,
            router_paused={"type": "boolean"},
            router_refused=refused,
        ),
        "Route": {
            "anyOf": [
                {"type": "object", "required": ["prompt"], "properties": {"prompt": {"type": "string"}}},
                {"$ref": "#/components/schemas/Chat"},
            ]
        },
        "Decision": _object(
            decision_id=decision_id,
            model={"type": "string"},
            category={"type": "string"},
            confidence={"type": "number", "minimum": 0, "maximum": 1},
            reason={"type": "string"},
            router_version=_TEXT_OR_NULL,
            scores={"type": "object", "additionalProperties": {"type": "number"}},
        ),
        "Observation": {
            "type": "object",
            "required": ["request", "model", "answer"],
            "properties": {
                "request": {"$ref": "#/components/schemas/Chat"},
                "model": {"type": "string", "description": "the model that answered, by its name here"},
                "answer": {**_TEXT_OR_NULL, "description": "its text; null together with `error`"},
                "error": {**_TEXT_OR_NULL, "description": "why there is no answer"},
                "decision_id": {
                    "type": "string",
                    "nullable": True,
                    "maxLength": 128,
                    "description": "from /v1/route, where it decided; else empty or null",
                },
                "latency_ms": {"type": "number", "nullable": True, "minimum": 0},
                "finish_reason": _TEXT_OR_NULL,
                "usage": {"type": "object", "nullable": True},
            },
        },
        "Observed": _object(
            decision_id=decision_id, collected={"type": "boolean"}, reason={"type": "string"}
        ),
        "Refused": _object(
            error=_object(
                message={"type": "string"},
                type={"type": "string"},
                param=_TEXT_OR_NULL,
                code={"type": "string", "enum": sorted(REQUEST_CODES)},
            )
        ),
    }


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}
