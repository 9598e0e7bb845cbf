"""Answers of every server: one shape of refusals, with the code in the body and in the metric."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from flywheel_core.errors import RequestError

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON_TYPE = (b"content-type", b"application/json")


def headers_of(error: RequestError) -> list[Header]:
    """The further headers of a refused request, whatever its body is."""
    headers: list[Header] = [*error.headers]
    if error.status == 503:
        headers.append((b"retry-after", b"%d" % (error.retry_after or 1)))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def refusal(error: RequestError) -> tuple[int, bytes, list[Header]]:
    """Status, body and further headers of a refused request."""
    body = {"status": "error", "code": error.code, "message": error.message}
    return error.status, msgspec.json.encode(body), headers_of(error)


async def send_json(send: Send, status: int, body: bytes, headers: list[Header] | None = None) -> None:
    """Send one JSON answer."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [JSON_TYPE, (b"content-length", b"%d" % len(body)), *(headers or ())],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_refusal(send: Send, error: RequestError) -> None:
    """Answer a refused request."""
    await send_json(send, *refusal(error))
