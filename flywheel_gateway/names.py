"""Which model a request names: none, a known one, or an unknown one."""

from collections.abc import Collection

from flywheel_core.errors import RequestError

AUTOMATIC = frozenset({"auto", "higress/auto"})
"""Names that leave the choice to the gateway; an absent, null or empty `model` means the same."""


def named_model(wanted: object, models: Collection[str]) -> str | None:
    """Return the one of `models` that a body's `model` names, or None if the gateway is to choose.

    Raises RequestError `body_unreadable` if it is not a string, `model_unknown` if it is not among `models`.
    """
    if wanted is None or wanted == "":
        return None
    if not isinstance(wanted, str):
        raise RequestError("body_unreadable", "model is not a string")
    if wanted in models:
        return wanted
    if wanted in AUTOMATIC:
        return None
    raise RequestError(
        "model_unknown",
        f"there is no model {wanted[:200]!r}; known are {', '.join(models)}; `auto` lets the gateway choose",
    )


def listed(models: Collection[str]) -> list[str]:
    """Return the names that a client can ask for: `auto` and every model."""
    return ["auto", *(name for name in models if name != "auto")]


def model_entry(name: str) -> dict[str, object]:
    """Return a model name's entry in the format of the OpenAI API."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "flywheel"}


def model_list(models: Collection[str]) -> dict[str, object]:
    """Return the body of GET /v1/models."""
    return {"object": "list", "data": [model_entry(name) for name in listed(models)]}
