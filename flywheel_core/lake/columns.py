"""Converts data points to Arrow columns: one row per point, and one row per point and model."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from flywheel_core.lake.points import free_part
from flywheel_core.wire_fields import snake_case

Split = Literal["train", "validation", "test"]

MAX_LATENCY_MS = 2**63 - 1

_DIGITS = re.compile(r"\d+")

POINTS = pa.schema(
    [
        ("data_point_id", pa.string()),
        ("byte_offset", pa.int64()),
        ("source", pa.string()),
        ("tenant", pa.string()),
        ("user", pa.string()),
        ("received_at", pa.float64()),
        ("timestamp", pa.int64()),
        ("question", pa.string()),
        ("question_key", pa.string()),
        ("split", pa.string()),
        ("prompt_rule", pa.string()),
        ("mode", pa.string()),
        ("sampling_rate", pa.float64()),
        ("decision_id", pa.string()),
        ("served_model", pa.string()),
        ("router_version", pa.string()),
        ("predicted_model", pa.string()),
        ("predicted_category", pa.string()),
        ("confidence", pa.float64()),
        ("decision_reason", pa.string()),
    ]
)
"""Columns that belong to a data point as a whole."""

ANSWERS = pa.schema(
    [
        ("owner", pa.int64()),
        ("position", pa.int64()),
        ("model", pa.string()),
        ("answer", pa.string()),
        ("latency_ms", pa.int64()),
        ("cost", pa.float64()),
        ("finish_reason", pa.string()),
        ("error", pa.string()),
        ("failed", pa.bool_()),
        ("failure_reason", pa.string()),
        ("score", pa.float64()),
        ("score_reason", pa.string()),
        ("score_spread", pa.float64()),
        ("asked", pa.float64()),
    ]
)
"""Columns that belong to one model's response; `owner` is the row number of its data point, from 0."""


def question_key(question: str) -> str:
    """Return 32 hex digits, equal for questions that differ only in case and white space."""
    return _keys(question)[0]


def split_of(question: str) -> Split:
    """Return the split of a question, the same in every dataset: train 70 %, validation 10 %, test 20 %.

    It is chosen by a hash of the question without case, white space and the values of numbers, so that questions made
    from one template are in the same split.
    """
    return _keys(question)[1]


def point_columns(points: Sequence[Any], offsets: Sequence[int], schema: pa.Schema = POINTS) -> pa.Table:
    """Return one row per point, with the columns of `schema`: all of `POINTS` or some of them."""
    decisions = [_decision(point.classification) for point in points]
    columns: dict[str, Sequence[Any]] = {"byte_offset": offsets}
    if "question_key" in schema.names:
        sides = [_keys(point.question) for point in points]
        columns["question_key"] = [key for key, _ in sides]
        columns["split"] = [side for _, side in sides]
    for name in schema.names:
        if name in _FROM_DECISION:
            field, read = _FROM_DECISION[name]
            columns[name] = [read(decision, field) for decision in decisions]
        elif name not in columns:
            columns[name] = list(map(attrgetter("id" if name == "data_point_id" else name), points))
    return _table(columns, schema)


def answer_columns(points: Sequence[Any], schema: pa.Schema = ANSWERS) -> pa.Table:
    """Return one row per point and model, with the columns of `schema`: all of `ANSWERS` or some of them.

    A point without any response or score has one row, whose model is null.
    """
    models: list[str | None] = []
    responses: list[Any] = []
    scores: list[float | None] = []
    reasons: list[str | None] = []
    spreads: list[float | None] = []
    asked: list[float | None] = []
    counts: list[int] = []
    for point in points:
        found, given = point.responses, point.scores
        names: list[Any] = list(found)
        if not given.keys() <= found.keys():
            names += [model for model in given if model not in found]
        if not names:
            names = [None]  # so that a point without responses has a row
        models += names
        responses += map(found.get, names)
        own_scores = list(map(given.get, names))
        scores += own_scores
        reasons += _reasons(point, names) if None in own_scores else [None] * len(names)
        spreads += _looked_up(point.score_spreads, names)
        asked += _looked_up(point.asked, names)
        counts.append(len(names))
    failures = [
        None
        if response is not None
        and response.error is None
        and response.answer
        and not response.answer.isspace()
        else _failure(model, response, score)
        for model, response, score in zip(models, responses, scores, strict=True)
    ]
    owners = np.repeat(np.arange(len(counts)), counts)
    columns: dict[str, Any] = {
        "owner": owners,
        "position": np.arange(len(owners)) - np.repeat(np.cumsum([0, *counts])[:-1], counts),
        "model": models,
        "failed": [
            None if model is None else bool(failure) for model, failure in zip(models, failures, strict=True)
        ],
        "failure_reason": failures,
        "score": scores,
        "score_reason": reasons,
        "score_spread": spreads,
        "asked": asked,
    }
    for row in [row for row, failure in enumerate(failures) if failure]:
        scores[row], reasons[row] = None, "response_failed"
    whole = None not in responses
    for name in schema.names:
        if name not in columns:
            get = attrgetter(name)
            columns[name] = (
                [response and get(response) for response in responses]
                if not whole
                else list(map(get, responses))
            )
    if "latency_ms" in columns:
        columns["latency_ms"] = _bounded(columns["latency_ms"])
    return _table(columns, schema)


def _table(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """Return a table with the columns that `schema` names; a column of nulls is made without converting its values."""
    arrays = []
    for field in schema:
        values = columns[field.name]
        if isinstance(values, list) and values.count(None) == len(values):
            arrays.append(pa.nulls(len(values), field.type))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.table(arrays, schema=schema)


def _keys(question: str) -> tuple[str, Split]:
    """Return a question's key and split."""
    folded = "".join(question.casefold().split())
    digest = hashlib.sha256(folded.encode()).hexdigest()
    without_numbers = _DIGITS.sub("0", folded)
    sided = digest
    if without_numbers != folded:
        sided = hashlib.sha256(without_numbers.encode()).hexdigest()
    bucket = int(sided[:15], 16) % 100
    return digest[:32], "train" if bucket < 70 else "validation" if bucket < 80 else "test"


def _decision(classification: Any) -> dict[str, Any]:
    """Return the fields of a point's classification under their snake_case names; none when there is no decision."""
    found = free_part(classification)
    return {snake_case(name): value for name, value in found.items()} if isinstance(found, dict) else {}


def _text(decision: dict[str, Any], name: str) -> str | None:
    value = decision.get(name)
    return value if isinstance(value, str) else None


def _share(decision: dict[str, Any], name: str) -> float | None:
    value = decision.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1 else None


def _reasons(point: Any, names: Sequence[str | None]) -> list[str | None]:
    """Return why each score is missing; None where there is a score or no model."""
    scores, given = point.scores, point.score_reasons or {}
    return [
        None
        if name is None or scores.get(name) is not None
        else given.get(name) or ("score_null" if name in scores else "score_absent")
        for name in names
    ]


def _looked_up(values: dict[str, float] | None, names: Sequence[str]) -> Sequence[float | None]:
    return list(map(values.get, names)) if values else [None] * len(names)


def _failure(model: str | None, response: Any, score: float | None) -> str | None:
    """Return why a response failed, or None when it did not.

    A model that has a score, but neither an error nor a recorded answer, did not fail.
    """
    if model is None:
        return None
    if response is None or (response.answer is None and response.error is None):
        return "answer_missing" if score is None else None
    if response.error is not None:
        return "error"
    return None if response.answer and not response.answer.isspace() else "answer_empty"


def _bounded(latencies: list[int | None]) -> list[int | None]:
    if max((value for value in latencies if value is not None), default=0) > MAX_LATENCY_MS:
        return [value if value is None else min(value, MAX_LATENCY_MS) for value in latencies]
    return latencies


_FROM_DECISION: dict[str, tuple[str, Callable[[dict[str, Any], str], Any]]] = {
    "router_version": ("router_version", _text),
    "predicted_model": ("model", _text),
    "predicted_category": ("category", _text),
    "confidence": ("confidence", _share),
    "decision_reason": ("reason", _text),
}
"""Column -> the field of a point's classification, and the function that reads it."""
