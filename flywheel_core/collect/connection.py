"""One HTTP/1.1 connection: llhttp (through httptools) parses, this collects one bounded reply after another."""

import asyncio
import zlib
from typing import Any, cast

import httptools
import httpx

from flywheel_core.collect.http import Reply, too_large

MAX_HEAD_BYTES = 65_536


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time.

    `usable` says whether another request may follow; `last_used` is the loop's time at the end of the last one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._max_bytes = 0
        self.usable = False
        self.last_used = 0.0
        self.requests = 0

    def request(self, message: bytes, max_bytes: int) -> asyncio.Future[Reply]:
        """Send a whole request; the future has the reply, or fails with an error of `Http.post`."""
        if self._transport is None or not self.usable:
            raise httpx.RemoteProtocolError("the connection was closed")
        self.usable = False
        self.requests += 1
        self._max_bytes = max_bytes
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._unpack: Any = None
        self._head_bytes = 0
        self._started = self._headed = self._until_close = False
        self._waiter = self._loop.create_future()
        self._transport.write(message)
        return self._waiter

    @property
    def answered(self) -> bool:
        """Whether anything came back for the request under way or the last one."""
        return self._started

    def expire(self) -> None:
        """End the request under way as not answered in time."""
        self._fail(httpx.ReadTimeout("no whole answer in time"))

    def close(self) -> None:
        """End the connection at once, whatever is under way."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self.close()  # nothing was asked: what comes now cannot be told from the next reply
            return
        self._started = True
        if not self._headed:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, UnicodeDecodeError) as error:
            self._fail(getattr(error, "__context__", None) or error)
            return
        if not self._headed and self._head_bytes > MAX_HEAD_BYTES:
            self._fail(httpx.RemoteProtocolError(f"headers larger than {MAX_HEAD_BYTES} bytes"))

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        self._transport = None
        if self._waiter is None or self._waiter.done():
            return
        if error is None and self._headed and self._until_close:
            self._finish()
        else:
            self._fail(httpx.ReadError(f"the connection was lost: {error or 'closed by the other side'}"))

    # what httptools calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            return
        self._headed = True
        headers = self._headers
        self._until_close = "content-length" not in headers and "transfer-encoding" not in headers
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise too_large(self._max_bytes)
        encoding = headers.get("content-encoding", "identity").lower()
        if encoding in ("gzip", "x-gzip", "deflate"):
            self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
        elif encoding not in ("identity", ""):
            raise httpx.DecodingError(f"the body is encoded as {encoding[:40]!r}, which was not asked for")

    def on_body(self, body: bytes) -> None:
        room = self._max_bytes - len(self._body)
        if self._unpack is None:
            if len(body) > room:
                raise too_large(self._max_bytes)
            self._body += body
            return
        try:
            self._body += self._unpack.decompress(body, room + 1)
        except zlib.error as error:
            raise httpx.DecodingError(f"the body cannot be unpacked: {error}") from None
        if len(self._body) > self._max_bytes or self._unpack.unconsumed_tail:
            raise too_large(self._max_bytes)

    def on_message_complete(self) -> None:
        if self._headed:
            self._finish()
        else:
            self._headers.clear()  # an interim answer such as 100 Continue

    # how a request ends

    def _finish(self) -> None:
        if self._unpack is not None and not self._unpack.eof:
            self._fail(httpx.DecodingError("the packed body ends early"))
            return
        waiter, self._waiter = self._waiter, None
        self.last_used = self._loop.time()
        self.usable = (
            self._transport is not None
            and not self._transport.is_closing()
            and not self._until_close
            and self._parser.should_keep_alive()
        )
        if waiter is not None and not waiter.done():
            waiter.set_result(Reply(self._parser.get_status_code(), self._headers, bytes(self._body)))
        if not self.usable:
            self.close()

    def _fail(self, error: BaseException) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            if isinstance(error, httptools.HttpParserError):
                error = httpx.RemoteProtocolError(f"the answer is not HTTP: {error}")
            waiter.set_exception(error)
        self.close()
