"""One HTTP/1.1 connection to a model: llhttp (through httptools) parses, the body is handed on as it comes.

What the reader does not take yet is held up to a bound; beyond it the connection is not read, which holds the model back.
"""

import asyncio
from collections import deque
from typing import cast

import httptools

from flywheel_core.errors import UpstreamError
from flywheel_gateway.headers import RawHeaders

MAX_HEAD_BYTES = 65_536
HELD_BYTES = 262_144
"""Body bytes held for a reader that is slower than the model."""


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time.

    requests: how many it carried; answered: whether anything came back for the latest; last_used: the loop's time at
    the end of the latest.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._pieces: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._under_way = False
        self._error: UpstreamError | None = None
        self._complete = self._paused = self._may_stay = False
        self.requests = 0
        self.answered = False
        self.last_used = 0.0

    @property
    def usable(self) -> bool:
        """Whether a request can be sent: it is open, and the answer before was read to its end."""
        return self._transport is not None and not self._transport.is_closing() and not self._under_way

    async def request(self, message: bytes, *, bodyless: bool) -> tuple[int, RawHeaders]:
        """Send a whole request and give status and headers of the answer. bodyless: it was a HEAD request.

        Raises UpstreamError `connection_lost`.
        """
        if self._transport is None or not self.usable:
            raise _lost("it was closed")
        self._parser = httptools.HttpResponseParser(self)
        self._headers: RawHeaders = []
        self._head_bytes = 0
        self._held = 0
        self._bodyless = bodyless
        self._headed = self._until_close = self._complete = self._may_stay = False
        self._error = None
        self._under_way = True
        self.answered = False
        self.requests += 1
        self._transport.write(message)
        while not self._headed:
            await self._wait()
        return self._parser.get_status_code(), self._headers

    @property
    def ready(self) -> bool:
        """Whether `read` has something to give at once."""
        return bool(self._pieces) or self._complete

    async def read(self) -> bytes:
        """What came of the body since the last read, at least one byte; empty at its end. Raises UpstreamError."""
        while not self.ready:
            await self._wait()
        if not self._pieces:
            return b""
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return body

    def release(self) -> None:
        """The answer is no longer read: an unfinished one ends the connection, and with it the model's work."""
        self.last_used = self._loop.time()
        if not (self._complete and not self._pieces and self._error is None and self._may_stay):
            self.close()
        self._under_way = False

    def close(self) -> None:
        """End the connection at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self._under_way or self._complete:
            self.close()  # nothing was asked: what comes now cannot be told from the next answer
            return
        self.answered = True
        self._head_bytes += 0 if self._headed else len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"the answer is not HTTP: {error}")
            return
        if not self._headed and self._head_bytes > MAX_HEAD_BYTES:
            self._fail(f"the answer's headers are larger than {MAX_HEAD_BYTES} bytes")
            return
        if self._held > HELD_BYTES and self._transport is not None and not self._complete:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._under_way and not self._complete:
            if error is None and self._headed and self._until_close:
                self._complete = True
            elif self._error is None:
                self._error = _lost(str(error or "closed by the other side"))
        self._wake()

    # what httptools calls

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._headed:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            return
        names = {name for name, _ in self._headers}
        self._until_close = b"content-length" not in names and b"transfer-encoding" not in names
        self._headed = True
        self._complete = self._bodyless

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._held += len(body)

    def on_message_complete(self) -> None:
        if self._headed:
            self._complete = True
            self._may_stay = not self._bodyless and self._parser.should_keep_alive()
        else:
            self._headers.clear()  # an interim answer such as 100 Continue

    # how one waits for the other

    def _fail(self, reason: str) -> None:
        self._error = _lost(reason)
        self.close()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


def _lost(reason: str) -> UpstreamError:
    return UpstreamError(f"the connection broke: {reason}"[:300], code="connection_lost")
