"""Deadlines and limits for connections, which uvicorn leaves to a proxy in front of it."""

import asyncio
import math
from typing import Any, ClassVar, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from flywheel_core.config import Server
from flywheel_core.errors import RequestError
from flywheel_core.serve.gather import GatheringTransport
from flywheel_core.serve.last_answer import LastAnswer, leave_out_chunks
from flywheel_core.serve.metrics import ServerMetrics
from flywheel_core.serve.replies import JSON_TYPE, Header, refusal

MAX_HEADER_BYTES = 64 * 1024
MAX_HEADERS = 256
"""Most header lines in one request: each takes far more memory than its text."""
MAX_AHEAD = 16
"""Most pipelined requests that may wait while an earlier one is being answered."""
REFUSED = "flywheel.refused"
"""Key in the scope of a request that was refused, and counted, while its body was still awaited."""
_GATHER_BYTES = 64 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 in which every wait for the client has a deadline.

    A connection is closed when its headers, its body, its next request or its reading of the response takes
    longer than the settings allow. A sweep over all connections (`close_overdue`) enforces this, so that no
    request needs a timer. `bounded` makes subclasses that hold the settings and the metrics.
    """

    settings: ClassVar[Server]
    metrics: ClassVar[ServerMetrics]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waits_for = "header"
        self._due = math.inf
        self._write_due = math.inf
        self._framing_bytes = 0
        self._answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's signature
        """Accept the connection, or refuse it when too many are open."""
        super().connection_made(cast("asyncio.Transport", GatheringTransport(transport, self.loop)))
        self.metrics.connections.set(len(self.connections))
        if len(self.connections) > self.settings.max_connections:
            self._refuse("connections_full")
            return
        self._wait("header", self.settings.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and let the request that is being answered know; uvicorn tells only the last one sent."""
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)
        self.metrics.connections.set(len(self.connections))

    def data_received(self, data: bytes) -> None:
        """Feed the parser; refuse heads, chunk extensions and trailers that go on for too long."""
        self._framing_bytes += len(data)  # a complete head or a piece of body resets this
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse("request_malformed")
        else:
            if self._framing_bytes > MAX_HEADER_BYTES or len(self.headers or ()) > MAX_HEADERS:
                self._refuse("headers_too_large")

    def on_message_begin(self) -> None:
        """Start the deadline for the headers at the first byte of a request."""
        super().on_message_begin()
        self._wait("header", self.settings.header_timeout)

    def on_headers_complete(self) -> None:
        """Start the request and the deadline for its body, now that the headers are complete."""
        if self.parser.should_upgrade():
            return  # the parser does not expect a body now: see `_decline_upgrade`
        if len(self.headers) > MAX_HEADERS or (
            self._framing_bytes > MAX_HEADER_BYTES and self._head_bytes() > MAX_HEADER_BYTES
        ):
            self._refuse("headers_too_large")
        if len(self.pipeline) >= MAX_AHEAD:
            self.transport.close()
        if self.transport.is_closing():
            raise httptools.HttpParserError  # the rest of the received data is not parsed
        self._framing_bytes = 0
        self._wait("body", self.settings.body_timeout)
        self._begin_request()
        # Trailers go into this new list: as headers of the request they could say what no proxy in front has
        # checked.
        self.headers = []

    def _head_bytes(self) -> int:
        """Return the size of this request's head; some of the bytes received so far may belong to its body."""
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _begin_request(self) -> None:
        """Pass the request to the application once its headers are complete."""
        super().on_headers_complete()
        if not self.cycle.keep_alive:
            self.cycle.transport = cast("asyncio.Transport", LastAnswer(self))
        if self.scope["http_version"] != "1.1":
            leave_out_chunks(self.cycle)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """Gather the body into large pieces, because the application wakes once per piece."""
        self._framing_bytes = 0
        cycle = self.cycle
        if cycle.response_complete:
            return
        if not cycle.body:
            cycle.body = body  # type: ignore[assignment] # uvicorn passes on a single `bytes` without a copy
        else:
            if isinstance(cycle.body, bytes):
                cycle.body = bytearray(cycle.body)
            cycle.body += body
        if len(cycle.body) >= min(_GATHER_BYTES, self.settings.max_body_bytes + 1):
            self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Stop the body's deadline: the client waits for the server, unless it has already been answered."""
        if self.parser.should_upgrade():
            return
        if self.cycle.response_complete:
            self._wait("idle", self.settings.idle_timeout)
            if not self.cycle.keep_alive:
                self.transport.close()
        else:
            self._waits_for, self._due = "answer", math.inf
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Make way for the next request, or for the rest of this one's body, once the response is sent.

        Same as in uvicorn, except that there is no timer for idle connections: the sweep closes those, and a
        timer would cost every request. Reading stays paused while pipelined requests wait, or their number
        would have no bound.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self._waits_for == "answer" and not self.pipeline:
            self._wait("idle", self.settings.idle_timeout)
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        """Start the deadline for the client to read its response."""
        self._write_due = self.loop.time() + self.settings.idle_timeout
        super().pause_writing()

    def resume_writing(self) -> None:
        """Stop that deadline: the client is reading again."""
        self._write_due = math.inf
        super().resume_writing()

    def close_overdue(self, now: float) -> None:
        """Close the connection if a deadline has passed. `now` is the event loop's time in seconds.

        A connection that is being closed stays until the client has read its last answer, so that has a deadline too.
        """
        closing = self.transport.is_closing()
        if closing and self._write_due == math.inf:
            self._write_due = now + self.settings.idle_timeout
        if now > self._write_due:
            self.metrics.deadlines.labels("write").inc()
            self.transport.abort()
        elif now > self._due and not closing:
            self.metrics.deadlines.labels(self._waits_for).inc()
            if self._waits_for == "body":
                self._refuse("body_timeout")
            else:
                self.transport.close()

    @property
    def body_is_coming(self) -> bool:
        """Whether the client is still sending the body of a request."""
        return self._waits_for == "body"

    def _wait(self, waits_for: str, seconds: float) -> None:
        self._waits_for = waits_for
        self._due = self.loop.time() + seconds

    def _decline_upgrade(self, rest: bytes) -> None:
        """Ignore the request for another protocol: parse the head again without it, followed by `rest`.

        After such a head the parser treats what follows as the other protocol, while a proxy in front takes
        it for the body of this request. Left alone, that body would be parsed as a separate request.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse("request_malformed")
            return
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.data_received(b"\r\n".join((*lines, b"", rest)))

    def refusal(self, error: RequestError) -> tuple[int, bytes, list[Header]]:
        """Return status, body and extra headers of a refusal made before the application sees the request.

        Subclasses override this to send errors in the format of their application.
        """
        return refusal(error)

    def _refuse(self, code: str) -> None:
        """Send an error without involving the application, and close the connection.

        If another response is in progress, or this request already has one, only close: the client would take
        a second response for the response to another request.
        """
        self._due = math.inf
        if self.transport.is_closing():
            return
        cycle = self.cycle
        answering = cycle is not None and (
            cycle.response_started if self.body_is_coming else not cycle.response_complete
        )
        if answering or self.pipeline:
            self.transport.close()
            return
        self.metrics.requests.labels(code).inc()
        if self.scope is not None:
            cast("dict[str, Any]", self.scope)[REFUSED] = True
        status, body, further = self.refusal(RequestError(code))
        length = (b"content-length", b"%d" % len(body))
        headers = [JSON_TYPE, length, *further, (b"connection", b"close")]
        lines = [b"HTTP/1.1 %d %b" % (status, code.encode()), *(b"%b: %b" % header for header in headers)]
        self.transport.write(b"\r\n".join((*lines, b"", body)))
        self.transport.close()


def bounded(
    protocol: type[BoundedProtocol], settings: Server, metrics: ServerMetrics
) -> type[BoundedProtocol]:
    """Return the protocol class for one server."""
    return type("Protocol", (protocol,), {"settings": settings, "metrics": metrics})
