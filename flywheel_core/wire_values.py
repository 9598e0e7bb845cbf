"""Checks the type and range of single JSON values of a data point, and says what is wrong.

A function that checks a value raises PointError when it is wrong, with the code it is given or else `field_invalid`.
"""

import math
from typing import Any

import msgspec

from flywheel_core.errors import PointError
from flywheel_core.records import MAX_MODELS, NULL

MAX_DEPTH = 32

_AS_LISTS = bytes.maketrans(b"{}", b"[]")
_NO_MARKS = bytes(set(range(256)) - set(b'{}[]"'))


class NotFinite:
    """A non-finite number, kept as its original text: `NaN`, `Infinity`, or a number too large for a float."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text[:40]


def kind_of(value: object) -> str:
    """Return the type of a JSON value in words."""
    if value is None:
        return "null"
    names = {bool: "a boolean", dict: "an object", list: "a list", str: "a string"}
    return names.get(type(value), "a number")


def depth_of(value: Any) -> int:
    """Return how deep objects and lists are nested in a JSON value; counting stops at MAX_DEPTH + 1."""
    deepest = 0
    stack = [(value, 1)]
    while stack:
        node, depth = stack.pop()
        if isinstance(node, dict | list):
            deepest = max(deepest, depth)
            if depth > MAX_DEPTH:
                return depth
            stack.extend((child, depth + 1) for child in (node.values() if isinstance(node, dict) else node))
    return deepest


def is_deeper(text: bytes, most: int) -> bool:
    """Return whether objects and lists in a JSON text, which must be valid, are nested deeper than `most`.

    Nothing is decoded, so that millions of empty lists take no longer than one long string.
    """
    marks = text.replace(b"\\\\", b"").replace(b'\\"', b"").translate(_AS_LISTS, _NO_MARKS)
    marks = b"".join(marks.replace(b'""', b"").split(b'"')[::2])  # adjacent strings merge, harmlessly
    for _ in range(most):
        if not marks:
            return False
        marks = marks.replace(b"[]", b"")  # remove the innermost pairs
    return bool(marks)


def number(value: Any, where: str, code: str) -> float | None:
    """Return `value` as a finite float, or None for null; booleans and strings are not numbers."""
    if value is None:
        return None
    if isinstance(value, NotFinite):
        raise PointError(code, f"{where} is {value}, not a finite number")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PointError(code, f"{where} is {kind_of(value)}, not a number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise PointError(code, f"{where} is not a finite number")
    return found


def few_models(value: dict[str, Any], name: str, code: str) -> dict[str, Any]:
    """Return `value`, an object keyed by model. Raises PointError when it has more than `MAX_MODELS` models."""
    if len(value) > MAX_MODELS:
        raise PointError(code, f"{name} has {len(value)} models; at most {MAX_MODELS} are taken")
    return value


def share(value: Any, where: str) -> float | None:
    """Return `value` as a share, 0..1, or None for null."""
    found = number(value, where, "field_invalid")
    if found is not None and not 0.0 <= found <= 1.0:
        raise PointError("field_invalid", f"{where} is {found}, not in 0..1")
    return found


def shares(value: Any, name: str, meaning: str) -> dict[str, float] | None:
    """Return `value` as a mapping from model to share (0..1), or None for null.

    meaning: what the share of a model is, for error messages.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise PointError("field_invalid", f"{name} is {kind_of(value)}, not an object from model to number")
    found = {}
    for model, item in few_models(value, name, "field_invalid").items():
        one = share(item, f"{meaning} {model!r}")
        if one is None:
            raise PointError("field_invalid", f"{meaning} {model!r} is null, not in 0..1")
        found[model] = one
    return found


def text_field(fields: dict[str, Any], name: str) -> str | None:
    """Return the string under `name`, or None when it is null or missing."""
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise PointError("field_invalid", f"{name} is {kind_of(value)}, not a string or null")
    return value


def texts(value: Any, name: str) -> dict[str, str] | None:
    """Return `value` as a mapping from model to string, or None for null."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise PointError("field_invalid", f"{name} is {kind_of(value)}, not an object from model to string")
    for model, text in few_models(value, name, "field_invalid").items():
        if not isinstance(text, str):
            raise PointError("field_invalid", f"{name} of {model!r} is {kind_of(text)}, not a string")
    return value


def raw_json(value: Any, kind: type, where: str, code: str = "field_invalid") -> msgspec.Raw:
    """Return `value` as JSON text; it must be null or of type `kind`, and hold only finite numbers."""
    if value is None:
        return NULL
    if not isinstance(value, kind):
        raise PointError(code, f"{where} is {kind_of(value)}")

    def refuse(inner: object) -> None:
        raise PointError(code, f"{where} holds {inner}, which is not a finite number")

    return msgspec.Raw(msgspec.json.encode(value, enc_hook=refuse))
