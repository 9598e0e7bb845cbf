"""The collector's OpenAPI description."""

from importlib.metadata import version
from typing import Any

from flywheel_core.errors import POINT_CODES, REQUEST_CODES
from flywheel_core.serve.docs import in_groups

_COLLECT_STATUSES = {400, 401, 403, 408, 413, 415, 422, 431, 500, 503}


def describe(max_batch_points: int) -> dict[str, Any]:
    """Return the OpenAPI description of a collector that accepts `max_batch_points` data points per batch."""
    return {
        "openapi": "3.0.3",  # the installed Swagger UI shows no later one
        "info": {
            "title": "Flywheel collector",
            "version": version("flywheel"),
            "description": "Takes batches of data points and answers once they are on disk.",
        },
        "paths": in_groups(
            {
                "/collect": {"post": _collect(max_batch_points)},
                "/health": {"get": _plain("Alive", "Always `OK` while the process runs.")},
                "/ready": {
                    "get": _plain(
                        "Able to store",
                        "503 while the disk has no room, storing fails or the server is shutting down.",
                    )
                    | {"responses": {"200": _text("Ready."), "503": _refusal(503)}}
                },
                "/metrics": {"get": _plain("Metrics", "Counters and gauges in the format of Prometheus.")},
            },
            "Data points",
        ),
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "`<key_id>.<secret>`"}
            },
            "schemas": _schemas(max_batch_points),
        },
    }


def _collect(max_batch_points: int) -> dict[str, Any]:
    return {
        "summary": "Store a batch",
        "operationId": "collect",
        "description": (
            "200 means that the accepted data points are written and synced. Points that are not acceptable are set "
            f"aside and named. At most {max_batch_points} points a batch. Field names may be CamelCase, camelCase or "
            "snake_case. A key is needed once one is configured."
        ),
        "security": [{}, {"key": []}],
        "parameters": [
            {
                "name": "Content-Encoding",
                "in": "header",
                "schema": {"type": "string", "enum": ["identity", "gzip"]},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Batch"}}},
        },
        "responses": {
            "200": {"description": "Stored.", "content": _json("Stored")},
            **{str(status): _refusal(status) for status in sorted(_COLLECT_STATUSES)},
        },
    }


def _plain(summary: str, description: str) -> dict[str, Any]:
    return {"summary": summary, "description": description, "responses": {"200": _text(description)}}


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _refusal(status: int) -> dict[str, Any]:
    lines = [f"`{code}`: {meaning}" for code, (at, meaning) in REQUEST_CODES.items() if at == status]
    return {"description": "; ".join(lines), "content": _json("Refused")}


def _schemas(max_batch_points: int) -> dict[str, Any]:
    text = {"type": "string", "nullable": True}
    measured = {"type": "number", "nullable": True, "minimum": 0, "maximum": 1}
    score = {"anyOf": [measured, {"type": "integer", "enum": [-1]}]}
    response = {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "answer": text,
            "latency_ms": {"type": "integer", "nullable": True, "minimum": 0, "description": "milliseconds"},
            "error": {"description": "any value but null means that the call failed"},
            "finish_reason": text,
            "usage": {"type": "object", "nullable": True},
            "cost": {"type": "number", "nullable": True, "minimum": 0},
            "raw_response": {"type": "object", "nullable": True},
        },
    }
    point = {
        "type": "object",
        "required": ["question", "responses"],
        "properties": {
            "id": {
                "type": "string",
                "minLength": 1,
                "maxLength": 128,
                "description": "absent: a content hash",
            },
            "question": {"type": "string", "minLength": 1, "description": "at most 64 KiB of UTF-8"},
            "responses": {"type": "object", "additionalProperties": response},
            "scores": {"type": "object", "nullable": True, "additionalProperties": score},
            "timestamp": {
                "type": "integer",
                "minimum": 0,
                "maximum": 4_102_444_800,
                "description": "unix seconds of the event",
            },
            "tenant": text,
            "user": text,
            "decision_id": text,
        },
    }
    rejected = {
        "type": "object",
        "required": ["index", "code", "message"],
        "properties": {
            "index": {"type": "integer"},
            "code": {"type": "string", "enum": sorted(POINT_CODES)},
            "message": {"type": "string"},
        },
    }
    rejected_list = {"type": "array", "items": rejected}
    return {
        "Batch": {
            "type": "object",
            "required": ["data_points"],
            "properties": {
                "data_points": {"type": "array", "items": point, "maxItems": max_batch_points},
                "count": {"type": "integer", "description": "ignored: what is stored is counted"},
                "timestamp": {"type": "integer"},
            },
        },
        "Stored": {
            "type": "object",
            "required": ["status", "count", "message", "rejected"],
            "properties": {
                "status": {"type": "string", "enum": ["success"]},
                "count": {"type": "integer", "description": "points stored"},
                "message": {"type": "string"},
                "rejected": rejected_list,
            },
        },
        "Refused": {
            "type": "object",
            "required": ["status", "code", "message"],
            "properties": {
                "status": {"type": "string", "enum": ["error"]},
                "code": {"type": "string", "enum": sorted(REQUEST_CODES)},
                "message": {"type": "string"},
                "count": {"type": "integer"},
                "rejected": rejected_list,
            },
        },
    }
