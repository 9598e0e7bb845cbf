"""An aiohttp connection that accepts one response per request, and closes when more arrives."""

from typing import Any

from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

MAX_INTERIM = 64
"""Most 1xx responses that may be pending; a peer that sends more without a final one is cut off."""


class OneAnswer(ResponseHandler):
    """aiohttp's client protocol, protected from responses that nobody asked for.

    aiohttp keeps reading even while a connection is idle. Unsolicited responses would occupy the event loop
    and fill memory, and the next request would be given one that arrived before it was sent.
    """

    _answered = False
    """Whether the head of the final response, not a 1xx one, has arrived."""

    def set_response_params(self, **options: Any) -> None:
        """Start the next request."""
        self._answered = False
        super().set_response_params(**options)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take the head of a response, with the stream of its body."""
        self._answered = data[0].code >= 200
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Process received data; close the connection if the response was already complete."""
        if data and self._answered and self._payload is not None and self._payload.is_eof():
            self._end()
            return
        super().data_received(data)
        if len(self._buffer) > MAX_INTERIM:
            self._buffer.clear()
            self.set_exception(HttpProcessingError(message="too many answers to one request"))
            self._end()

    def _end(self) -> None:
        if self.transport is not None:
            self.transport.close()
