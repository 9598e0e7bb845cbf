"""Answers that take time: streams at simulated speed, and waiting that ends when the client disconnects."""

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from simulation.stats import Calls

_FIRST_PIECE = 0.3
"""Share of an answer's latency that passes before the first event of a stream."""


class Stream(Response):
    """Sends events spread over `seconds`; stops as soon as the client disconnects."""

    def __init__(self, events: list[bytes], seconds: float, calls: Calls) -> None:
        super().__init__(media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        del self.headers["content-length"]
        self._events, self._seconds, self._calls = events, seconds, calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        calls = self._calls
        calls.active += 1
        try:
            pauses = [_FIRST_PIECE * self._seconds]
            pauses += [(1 - _FIRST_PIECE) * self._seconds / len(self._events)] * (len(self._events) - 1)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            for event, pause in zip(self._events, pauses, strict=True):
                if await left_within(receive, pause):
                    calls.left += 1
                    return
                await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            calls.answered += 1
        finally:
            calls.active -= 1


async def left_within(receive: Receive, seconds: float) -> bool:
    """Wait `seconds` and return False, or return True as soon as the client disconnects."""
    if seconds <= 0:
        return False
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True
