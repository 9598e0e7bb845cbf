"""The flaws of real raw files, one or two kinds a day, so that ingest has something to count.

| day | flaws |
| --- | --- |
| 1 | a byte order mark, blank lines |
| 2 | `null`, a line that is not JSON, bad UTF-8 |
| 3 | every third point as the Go gateway encodes it (CamelCase, errors as `{}`, -1 for no score) |
| 4 | points sent twice; scores that are out of range, a string, true and NaN |
| 5 | an hour without `qwen-code-7b`, three quarters of an hour without the scorer |
| 6 | a model that is in no configuration, an empty question, a last line torn off by a crash |
"""

import json
from typing import Any

OUTAGE_MODEL = "qwen-code-7b"
UNKNOWN_MODEL = "qwen-translate-7b"
_BOM = b"\xef\xbb\xbf"


def dirty(number: int, points: list[dict[str, Any]]) -> bytes:
    """Return the raw file of the day with that number (0 to 5)."""
    return (_first, _second, _third, _fourth, _fifth, _sixth)[number](points)


def as_file(points: list[dict[str, Any]]) -> bytes:
    """Return clean points as a raw file, one per line."""
    return _file([_line(point) for point in points])


def failed_response(model: str, error: str, latency_ms: int) -> dict[str, Any]:
    """Return the response of a model that did not answer."""
    return {
        "model": model, "answer": None, "latency_ms": latency_ms, "error": error, "finish_reason": None, "usage": None, "cost": None,
    }  # fmt: skip


def _line(point: Any) -> bytes:
    return json.dumps(point, ensure_ascii=False, separators=(",", ":")).encode()


def _file(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _first(points: list[dict[str, Any]]) -> bytes:
    lines = [_line(point) for point in points]
    for at in (40, 41, 200):
        lines.insert(at, b"")
    return _BOM + _file(lines)


def _second(points: list[dict[str, Any]]) -> bytes:
    lines = [_line(point) for point in points]
    broken = _line({**points[90], "id": "sample-bad-utf8", "question": "@"}).replace(
        b"@", b"caf\xe9 \xff\xfe"
    )
    for at, dirt in (
        (60, b"null"),
        (90, broken),
        (150, b"-- log rotated --"),
        (151, b"null"),
        (300, lines[5][:-1]),
    ):
        lines.insert(at, dirt)
    return _file(lines)


def _third(points: list[dict[str, Any]]) -> bytes:
    return _file(
        [_line(_go_point(point)) if index % 3 == 1 else _line(point) for index, point in enumerate(points)]
    )


def _fourth(points: list[dict[str, Any]]) -> bytes:
    lines = [_line(point) for point in points]
    for at, value in ((20, 2.0), (21, "0.9"), (22, True), (23, -0.25)):
        lines[at] = _line({**points[at], "scores": {**points[at]["scores"], "qwen-max": value}})
    lines[24] = _line({**points[24], "scores": {**points[24]["scores"], "qwen-max": float("nan")}})
    return _file(lines[:130] + lines[110:130] + lines[130:] + lines[-10:])


def _fifth(points: list[dict[str, Any]]) -> bytes:
    for point in points:
        minute = point["timestamp"] % 86_400 // 60
        if 600 <= minute < 660:
            point["responses"][OUTAGE_MODEL] = failed_response(
                OUTAGE_MODEL, "http_503: upstream unavailable", 23
            )
            point["scores"][OUTAGE_MODEL] = None
        if 840 <= minute < 885:
            point["scores"] = dict.fromkeys(point["scores"])
    return as_file(points)


def _sixth(points: list[dict[str, Any]]) -> bytes:
    for point in points[50:90:2]:
        point["responses"][UNKNOWN_MODEL] = {
            **point["responses"]["qwen-max"],
            "model": UNKNOWN_MODEL,
            "cost": None,
        }
        point["scores"][UNKNOWN_MODEL] = 0.55
        point["asked"][UNKNOWN_MODEL] = 0.05
    lines = [_line(point) for point in points]
    lines.insert(100, _line({**points[100], "id": "sample-empty-question", "question": "  "}))
    return _file(lines[:-1]) + lines[-1][:400]


def _go_point(point: dict[str, Any]) -> dict[str, Any]:
    """Encode the point as Go does with untagged structs: errors as `{}`, -1 for no score, no id."""
    responses = {
        model: {
            "Model": model,
            "Answer": response["answer"] or "",
            "Latency": response["latency_ms"],
            "Error": None if response["error"] is None else {},
            "RawResponse": None,
        }
        for model, response in point["responses"].items()
    }
    scores = {model: -1 if score is None else score for model, score in point["scores"].items()}
    return {
        "Question": point["question"],
        "Responses": responses,
        "Scores": scores,
        "Timestamp": point["timestamp"],
        "Classification": None,
    }
