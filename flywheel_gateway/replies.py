"""Responses that the gateway makes itself: JSON bodies, and errors in the format of the OpenAI API."""

from typing import Any

import msgspec
from starlette.types import Send

from flywheel_core.errors import RequestError
from flywheel_core.serve import replies
from flywheel_gateway.headers import RawHeaders


async def send_json(send: Send, status: int, value: Any) -> None:
    """Send `value` as a complete JSON response."""
    await replies.send_json(send, status, msgspec.json.encode(value))


def refusal(error: RequestError) -> tuple[int, bytes, RawHeaders]:
    """Return status, body and extra headers of a refusal.

    The body is `{"error": {"message", "type", "param", "code"}}`.
    """
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    body = {"error": {"message": error.message, "type": kind, "param": None, "code": error.code}}
    headers = replies.headers_of(error)
    if error.status == 405:
        headers.append((b"allow", b"POST"))  # the only method that any endpoint requires
    return error.status, msgspec.json.encode(body), headers


async def send_error(send: Send, error: RequestError) -> None:
    """Send a refusal."""
    status, body, headers = refusal(error)
    await replies.send_json(send, status, body, headers)
