"""Which model a request names: none, one of ours, or one that nobody here knows."""

from collections.abc import Collection

from flywheel_core.errors import RequestError

AUTOMATIC = frozenset({"auto", "higress/auto"})
"""Names by which a client leaves the choice of the model to the gateway; `model` absent, null or empty says the same."""


def named_model(wanted: object, models: Collection[str]) -> str | None:
    """The one of `models` that a body's `model` names, or None where the gateway is to choose.

    Raises RequestError `body_unreadable` for what is no text, `model_unknown` for a name that is not among them.
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
    """The names that a client can ask for: `auto` and every model."""
    return ["auto", *(name for name in models if name != "auto")]


def model_entry(name: str) -> dict[str, object]:
    """One of the names as the OpenAI API describes a model."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "flywheel"}


def model_list(models: Collection[str]) -> dict[str, object]:
    """The body of GET /v1/models."""
    return {"object": "list", "data": [model_entry(name) for name in listed(models)]}
