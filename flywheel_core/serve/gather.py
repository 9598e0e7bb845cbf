"""Gather writes so that the head and the body of a response leave in one system call."""

import asyncio
from typing import Any

MAX_HELD_BYTES = 64 * 1024


class GatheringTransport:
    """A transport that holds writes until the end of the event loop's turn, up to MAX_HELD_BYTES.

    uvloop's own transport passes each write to the system at once. uvicorn writes head and body separately,
    and for small requests the second system call would be a sixth of all the work. Everything except `write`
    and `close` is passed through to the wrapped transport.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Hold `data` until the turn ends or the limit is reached."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > MAX_HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Pass on what is held."""
        held, self._held, self._size = self._held, [], 0
        if held and not self._transport.is_closing():  # a closing transport has no reader left
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def close(self) -> None:
        """Close after passing on everything written."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
