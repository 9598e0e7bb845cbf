"""Responses of every server: refusals have one format, with the same code in the body and in the metric."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from flywheel_core.errors import RequestError

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON_TYPE = (b"content-type", b"application/json")


def headers_of(error: RequestError) -> list[Header]:
    """Return the extra headers of a refusal, whatever the format of its body."""
    headers: list[Header] = [*error.headers]
    if error.status == 503 or error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % (error.retry_after or 1)))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def refusal(error: RequestError) -> tuple[int, bytes, list[Header]]:
    """Return status, body and extra headers of a refusal."""
    body = {"status": "error", "code": error.code, "message": error.message}
    return error.status, msgspec.json.encode(body), headers_of(error)


async def send_json(send: Send, status: int, body: bytes, headers: list[Header] | None = None) -> None:
    """Send one JSON response."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [JSON_TYPE, (b"content-length", b"%d" % len(body)), *(headers or ())],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_refusal(send: Send, error: RequestError) -> None:
    """Send the response to a refused request."""
    await send_json(send, *refusal(error))
