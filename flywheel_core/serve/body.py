"""Reading a request's body within bounds: as sent, as unpacked, and all bodies together."""

import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from flywheel_core.errors import RequestError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Headers = list[tuple[bytes, bytes]]

_STEP = 1024 * 1024


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete: nobody is there to be answered."""


class Budget:
    """Bytes that all requests together may hold in memory: `held` of `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def take(self, size: int) -> None:
        """Hold `size` bytes more. Raises RequestError `queue_full` when that is too much."""
        if self.held + size > self.limit:
            raise RequestError("queue_full", retry_after=1)
        self.held += size

    def give_back(self, size: int) -> None:
        """Hold `size` bytes less."""
        self.held -= size


class Hold:
    """What one request holds of a budget; given back at the end of the `with` block."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    def __enter__(self) -> "Hold":
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.give_back(self._size)

    def take(self, size: int) -> None:
        """Hold `size` bytes more. Raises RequestError `queue_full`."""
        self._budget.take(size)
        self._size += size


def header(headers: Headers, name: bytes) -> str | None:
    """The first header of that lower-case name."""
    for key, value in headers:
        if key == name:
            return value.decode("latin-1")
    return None


async def read_body(
    headers: Headers, receive: Receive, hold: Hold, *, max_bytes: int, max_unpacked_bytes: int
) -> bytes:
    """The whole body, unpacked as its Content-Encoding says (gzip or none).

    Raises RequestError `body_too_large`, `queue_full`, `encoding_invalid` or `media_type_unsupported`;
    ClientGoneError when the client went away.
    """
    encoding = (header(headers, b"content-encoding") or "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise RequestError("media_type_unsupported", "of all Content-Encodings only gzip is taken")
    declared = header(headers, b"content-length")
    if declared and declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(f"{declared} bytes", max_bytes)
    body = await _read(receive, hold, max_bytes)
    return body if encoding == "identity" else _unpack(body, hold, max_unpacked_bytes)


async def _read(receive: Receive, hold: Hold, max_bytes: int) -> bytes:
    pieces = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        piece = message.get("body", b"")
        size += len(piece)
        if size > max_bytes:
            raise _too_large("more", max_bytes)
        hold.take(len(piece))
        pieces.append(piece)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _unpack(body: bytes, hold: Hold, max_bytes: int) -> bytes:
    """Unpack one or more gzip members, never more than `max_bytes`."""
    pieces = []
    size = 0
    rest = body
    try:
        while rest:
            member = zlib.decompressobj(wbits=31)
            while not member.eof:
                piece = member.decompress(rest, min(_STEP, max_bytes - size + 1))
                size += len(piece)
                if size > max_bytes:
                    raise _too_large("more once unpacked", max_bytes)
                hold.take(len(piece))
                pieces.append(piece)
                rest = member.unconsumed_tail
                if not piece and not rest and not member.eof:
                    raise RequestError("encoding_invalid", "the gzip data ends before it is complete")
            rest = member.unused_data
    except zlib.error as error:
        raise RequestError("encoding_invalid", f"the body is not gzip: {error}") from None
    if not pieces:
        raise RequestError("encoding_invalid", "the body is empty, which is not gzip")
    return b"".join(pieces)


def _too_large(size: str, limit: int) -> RequestError:
    return RequestError("body_too_large", f"the body has {size}; at most {limit} bytes are taken")
