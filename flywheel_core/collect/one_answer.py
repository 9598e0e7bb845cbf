"""A connection of aiohttp that takes the one answer that was asked for, and ends when more comes."""

from typing import Any

from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

MAX_INTERIM = 64
"""Answers of status 1xx that may wait to be passed over; the other side has to say something by then."""


class OneAnswer(ResponseHandler):
    """As aiohttp has it, but for answers that nobody asked for.

    aiohttp reads on, also while the connection is kept for later: it would hold the loop and fill memory with answers, and give
    the next request one of those that came before it was sent.
    """

    _answered = False
    """Whether the head of the answer proper has come."""

    def set_response_params(self, **options: Any) -> None:
        """Begin with the next request."""
        self._answered = False
        super().set_response_params(**options)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take the head of an answer, with what its body is read from."""
        self._answered = data[0].code >= 200
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless the answer was whole before it."""
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
