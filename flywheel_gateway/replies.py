"""What the gateway says itself: JSON bodies, and errors in the shape that clients of the OpenAI API know."""

from typing import Any

import msgspec
from starlette.types import Send

from flywheel_core.errors import RequestError
from flywheel_gateway.headers import RawHeaders


async def send_json(send: Send, status: int, value: Any, headers: RawHeaders | None = None) -> None:
    """Send `value` as the whole JSON answer."""
    body = msgspec.json.encode(value)
    start = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *(headers or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: RequestError, *, close: bool = False) -> None:
    """Send a refusal: `{"error": {"message", "type", "param", "code"}}`.

    close: end the connection, for when the rest of the request is not read.
    """
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    body = {"error": {"message": error.message, "type": kind, "param": None, "code": error.code}}
    headers: RawHeaders = []
    if error.status == 503:
        headers.append((b"retry-after", b"%d" % (error.retry_after or 1)))
    if error.status == 405:
        headers.append((b"allow", b"POST"))  # the only method that the gateway insists on
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if close:
        headers.append((b"connection", b"close"))
    await send_json(send, error.status, body, headers)
