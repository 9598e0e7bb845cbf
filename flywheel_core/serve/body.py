"""Read request bodies within limits on the size as sent, the unpacked size, and the total of all bodies."""

import io
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from flywheel_core.errors import RequestError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Headers = Mapping[bytes, bytes]
"""Headers by lower-case name; if a name occurs several times, its last value."""

MAX_MEMBERS = 4096
"""Most gzip members accepted in a body: each one costs time, however small it is."""

SMALL = 64 * 1024
"""Bytes of one request that may come out of a budget's `spare`."""

_SHORT = 4 * 1024
_STEP = 256 * 1024
_FEED = 64 * 1024


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete, so no response is due."""


class Budget:
    """Bytes that all requests together may hold in memory: `held` out of `limit`.

    spare: what small requests may hold beyond the limit, so that a few large ones keep nobody else out.
    """

    def __init__(self, limit: int, spare: int = 0) -> None:
        self.limit = limit
        self.spare = spare
        self.held = 0

    def take(self, size: int, *, small: bool = False) -> None:
        """Hold `size` more bytes. Raises RequestError `queue_full` when that would exceed the limit."""
        if size and self.held + size > self.limit + (self.spare if small else 0):
            raise RequestError("queue_full", retry_after=1)
        self.held += size

    def give_back(self, size: int) -> None:
        """Release `size` bytes."""
        self.held -= size


class Hold:
    """What one request holds of a budget; released at the end of the `with` block."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    def __enter__(self) -> "Hold":
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def give_back(self) -> None:
        """Release everything."""
        self._budget.give_back(self._size)
        self._size = 0

    def take(self, size: int) -> None:
        """Hold `size` more bytes. Raises RequestError `queue_full`."""
        self._budget.take(size, small=self._size + size <= SMALL)
        self._size += size


class Pieces:
    """The pieces of one body, in order.

    Pieces of less than `_SHORT` bytes are joined as they come: kept one by one, each takes fifty bytes more.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes | bytearray] = []

    def add(self, piece: bytes) -> None:
        """Append a piece."""
        if not self._pieces or len(piece) >= _SHORT:
            self._pieces.append(piece)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += piece
        else:
            self._pieces.append(bytearray(piece))

    def joined(self) -> bytes:
        """Return everything added so far; a single piece is not copied."""
        return b"".join(self._pieces)

    def clear(self) -> None:
        """Forget all pieces."""
        self._pieces.clear()


async def read_body(
    headers: Headers,
    receive: Receive,
    hold: Hold,
    note_received: Callable[[int], None],
    *,
    max_bytes: int,
    max_unpacked_bytes: int,
) -> bytes:
    """Return the whole body, decompressed if its Content-Encoding is gzip.

    `note_received` is called with the size as sent.

    Raises RequestError `body_too_large`, `queue_full`, `encoding_invalid` or `media_type_unsupported`;
    ClientGoneError when the client disconnects first.
    """
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"identity", b"gzip", b"x-gzip"):
        raise RequestError("media_type_unsupported", "gzip is the only Content-Encoding accepted")
    # `int` refuses a string of thousands of digits, even if most of them are leading zeros.
    declared = headers.get(b"content-length", b"").lstrip(b"0")
    if declared.isdigit() and int(declared) > max_bytes:
        raise _too_large("body", max_bytes)
    pieces = Pieces()
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        piece = message.get("body", b"")
        size += len(piece)
        if size > max_bytes:
            raise _too_large("body", max_bytes)
        hold.take(len(piece))
        pieces.add(piece)
        more = message.get("more_body", False)
    note_received(size)
    body = pieces.joined()
    pieces.clear()
    return body if encoding == b"identity" else _unpack(body, hold, max_unpacked_bytes)


def _unpack(body: bytes, hold: Hold, max_bytes: int) -> bytes:
    """Unpack one or more gzip members, never beyond `max_bytes`.

    The compressed bytes are fed in small steps because zlib copies whatever follows a member when it ends.
    The output goes straight into its final buffer: joining pieces at the end would hold it in memory twice.
    """
    unpacked = io.BytesIO()
    size = at = members = 0
    rest = b""
    member = zlib.decompressobj(wbits=31)
    more_inside = False
    try:
        while at < len(body) or rest or more_inside:
            if not rest and not more_inside:
                rest = body[at : at + _FEED]
                at += _FEED
            if member.eof:
                member = zlib.decompressobj(wbits=31)
                members += 1
                if members >= MAX_MEMBERS:
                    raise RequestError("encoding_invalid", f"the gzip data has over {MAX_MEMBERS} members")
            most = min(_STEP, max_bytes - size + 1)
            piece = member.decompress(rest, most)
            more_inside = len(piece) == most and not member.eof
            rest = member.unused_data if member.eof else member.unconsumed_tail
            size += len(piece)
            if size > max_bytes:
                raise _too_large("unpacked body", max_bytes)
            hold.take(len(piece))
            unpacked.write(piece)
    except zlib.error as error:
        raise RequestError("encoding_invalid", f"the body is not gzip: {error}") from None
    if not member.eof:
        raise RequestError("encoding_invalid", "the gzip data ends before it is complete")
    return unpacked.getvalue()  # makes no copy: the bytes share the buffer


def _too_large(what: str, limit: int) -> RequestError:
    return RequestError("body_too_large", f"the {what} has more than {limit} bytes, the most that is taken")
