"""Writes gathered: the head of an answer and its body leave in one system call."""

import asyncio
from typing import Any

MAX_HELD_BYTES = 64 * 1024


class GatheringTransport:
    """A transport whose writes wait for the end of the event loop's turn, at most MAX_HELD_BYTES of them.

    uvloop's own transport hands each write to the system at once; uvicorn writes head and body apart, and on small
    requests the second call would be a sixth of all work. Everything but writing and closing is the transport's own.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Hold `data` until the turn ends or too much is held."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > MAX_HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand on what is held."""
        held, self._held, self._size = self._held, [], 0
        if held and not self._transport.is_closing():  # nobody is there any more
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def close(self) -> None:
        """Close once everything written is out."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
