"""Deadlines and bounds of connections: what uvicorn leaves to whoever stands in front of it."""

import asyncio
import json
import math
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from flywheel_core.config import Server
from flywheel_core.errors import REQUEST_CODES
from flywheel_core.serve.gather import GatheringTransport
from flywheel_core.serve.metrics import ServerMetrics

MAX_HEADER_BYTES = 64 * 1024
_GATHER_BYTES = 64 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 in which every wait for the client has an end.

    A connection is closed when its headers, its body, its next request or its reading of the answer take longer than
    the settings allow; a sweep over all connections (`close_overdue`) does it, so that a request costs no timer.
    Subclasses made by `bounded` hold the settings and the metrics.
    """

    settings: ClassVar[Server]
    metrics: ClassVar[ServerMetrics]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waits_for = "header"
        self._due = math.inf
        self._write_due = math.inf
        self._header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Take the connection, or refuse it when too many are open."""
        super().connection_made(cast("asyncio.Transport", GatheringTransport(transport, self.loop)))
        self.metrics.connections.set(len(self.connections))
        if len(self.connections) > self.settings.max_connections:
            self._refuse("connections_full")
            return
        self._wait("header", self.settings.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self.metrics.connections.set(len(self.connections))

    def data_received(self, data: bytes) -> None:
        """Feed the parser; headers that do not end are refused."""
        super().data_received(data)
        if self._waits_for == "header" or self._waits_for == "idle":
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self._refuse("headers_too_large")

    def on_message_begin(self) -> None:
        """The first byte of a request is there."""
        super().on_message_begin()
        self._wait("header", self.settings.header_timeout)

    def on_headers_complete(self) -> None:
        """The headers are there; what follows is the body."""
        self._header_bytes = 0
        self._wait("body", self.settings.body_timeout)
        super().on_headers_complete()
        if not self.cycle.keep_alive:
            self.cycle.transport = cast("asyncio.Transport", _LastAnswer(self))
        if self.scope["http_version"] != "1.1":
            _leave_out_chunks(self.cycle)

    def on_body(self, body: bytes) -> None:
        """Gather the body in large pieces: the application wakes once per piece."""
        cycle = self.cycle
        if cycle.response_complete:
            return
        if not cycle.body:
            cycle.body = body  # type: ignore[assignment] # bytes in one piece: uvicorn hands them on without a copy
        else:
            if isinstance(cycle.body, bytes):
                cycle.body = bytearray(cycle.body)
            cycle.body += body
        if len(cycle.body) >= min(_GATHER_BYTES, self.settings.max_body_bytes + 1):
            self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The request is there; from now on the client waits for us, unless it has its answer already."""
        if self.cycle.response_complete:
            self._wait("idle", self.settings.idle_timeout)
            if not self.cycle.keep_alive:
                self.transport.close()
        else:
            self._waits_for, self._due = "answer", math.inf
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is out; the next request may come, or what is left of the body.

        As in uvicorn, but for its timer of idle connections: the sweep ends those, and a timer would cost every request.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self._waits_for == "answer" and not self.pipeline:
            self._wait("idle", self.settings.idle_timeout)
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def pause_writing(self) -> None:
        """The client does not read its answer."""
        self._write_due = self.loop.time() + self.settings.idle_timeout
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._write_due = math.inf
        super().resume_writing()

    def close_overdue(self, now: float) -> None:
        """Close the connection when a deadline has passed. `now` is the loop's time."""
        if now > self._write_due:
            self.metrics.deadlines.labels("write").inc()
            self.transport.abort()
        elif now > self._due:
            self.metrics.deadlines.labels(self._waits_for).inc()
            answered = self.cycle is not None and self.cycle.response_started
            if self._waits_for == "body" and not answered:
                self._refuse("body_timeout")
            else:
                self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, in the shape of all refusals."""
        self._refuse("request_malformed")

    @property
    def body_is_coming(self) -> bool:
        """Whether the client still sends the body of a request."""
        return self._waits_for == "body"

    def _wait(self, waits_for: str, seconds: float) -> None:
        self._waits_for = waits_for
        self._due = self.loop.time() + seconds

    def _refuse(self, code: str) -> None:
        """Answer without the application and close; nothing that is under way is answered any more."""
        self._due = math.inf
        if self.transport.is_closing():
            return
        self.metrics.requests.labels(code).inc()
        status, meaning = REQUEST_CODES[code]
        body = json.dumps({"status": "error", "code": code, "message": meaning}).encode()
        retry = "retry-after: 1\r\n" if status == 503 else ""
        self.transport.write(
            f"HTTP/1.1 {status} {code}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"{retry}connection: close\r\n\r\n".encode()
            + body
        )
        self.transport.close()


class _LastAnswer:
    """The connection for the answer to a request that wants it closed: closing waits for the rest of the body.

    A connection that is closed while data still come is reset, and the client loses the answer, for instance the 503
    that tells it to come back. What comes is dropped; the deadline of the body holds.
    """

    def __init__(self, protocol: BoundedProtocol) -> None:
        self._protocol = protocol
        self.write = protocol.transport.write

    def close(self) -> None:
        """Close now, or leave it to the end of the body."""
        if not self._protocol.body_is_coming:
            self._protocol.transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol.transport, name)


def _leave_out_chunks(cycle: RequestResponseCycle) -> None:
    """HTTP/1.0 knows no chunks, in which uvicorn sends every answer without a length: there the end of the connection,
    which follows anyway, is the end of the answer."""
    framed = cycle.send
    open_ended = False

    async def send(message: Any) -> None:
        nonlocal open_ended
        if message["type"] == "http.response.start":
            open_ended = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
            if open_ended:
                cycle.chunked_encoding = False
        elif open_ended:
            cycle.expected_content_length = len(message.get("body", b""))  # what uvicorn takes is what comes
        await framed(message)

    cycle.send = send  # type: ignore[method-assign] # uvicorn makes its cycles itself


def bounded(settings: Server, metrics: ServerMetrics) -> type[BoundedProtocol]:
    """The protocol class for one server."""
    return type("Protocol", (BoundedProtocol,), {"settings": settings, "metrics": metrics})
