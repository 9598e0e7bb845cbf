"""Answer plain uploads in the protocol itself, without the application.

For a small upload, ASGI's task and messages cost as much as everything else.

A plain upload is a `POST /collect` over HTTP/1.1 with an uncompressed body and a Content-Length of at most
MAX_PLAIN_BYTES, sent while no other request is in progress on its connection. Every other request goes
through the application. So does a plain upload that is refused before any of it is stored: the application
runs into the same error and sends the response.
"""

import asyncio
import math
from functools import partial
from typing import ClassVar, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from collector_api.collect import Collect
from flywheel_core.errors import RequestError
from flywheel_core.serve.body import Hold, Pieces
from flywheel_core.serve.limits import REFUSED, BoundedProtocol
from flywheel_core.serve.replies import JSON_TYPE, Header, refusal
from flywheel_core.wire_batch import Rejected

MAX_PLAIN_BYTES = 1024 * 1024

_OTHER_WAY = frozenset((b"content-encoding", b"transfer-encoding", b"expect"))
"""Headers that only the application handles."""


class _NoEvent:
    """Stand-in for uvicorn's message event: nothing waits for the pieces of a plain upload."""

    def set(self) -> None:
        """Do nothing."""


class _Upload:
    """One plain upload, which its connection treats like one of uvicorn's requests in progress."""

    __slots__ = (
        "disconnected", "hold", "keep_alive", "message_event", "pieces", "response_complete", "response_started", "source",
    )  # fmt: skip

    def __init__(self, source: str, hold: Hold) -> None:
        self.source = source
        self.hold = hold
        self.pieces = Pieces()
        self.message_event = _NO_EVENT
        self.keep_alive = True
        self.disconnected = self.response_started = self.response_complete = False


_NO_EVENT = _NoEvent()


class UploadProtocol(BoundedProtocol):
    """HTTP/1.1 for the collector. `uploading` makes subclasses in which `collect` is set."""

    collect: ClassVar[Collect]
    _upload: _Upload | None = None
    """The plain upload whose body is being received."""

    def _begin_request(self) -> None:
        """Start a plain upload, or hand the request to the application, now that the headers are complete."""
        self._upload = upload = self._plain_upload()
        if upload is None:
            super()._begin_request()
        else:
            self.cycle = cast(RequestResponseCycle, upload)

    def on_body(self, body: bytes) -> None:
        """Keep a piece of a plain upload, within the memory budget for all request bodies."""
        upload = self._upload
        if upload is None:
            super().on_body(body)
            return
        self._framing_bytes = 0
        upload.pieces.add(body)
        try:
            upload.hold.take(len(body))
        except RequestError:
            self._hand_over(upload)

    def on_message_complete(self) -> None:
        """Decode a complete plain upload and start storing it."""
        upload = self._upload
        if upload is None:
            super().on_message_complete()
            return
        try:
            stored, points, rejected = self.collect.begin(upload.pieces.joined(), upload.source)
        except Exception:  # noqa: BLE001 - the application runs into it again and sends the response
            self._hand_over(upload)
            super().on_message_complete()
            return
        self._upload = None
        upload.pieces.clear()
        self._waits_for, self._due = "answer", math.inf
        stored.add_done_callback(partial(self._stored, upload, points, rejected))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and any upload whose body is incomplete."""
        super().connection_lost(exc)
        if self._upload is not None:
            self._upload.hold.give_back()
            self._upload = None
            if REFUSED not in self.scope:
                self.metrics.requests.labels("client_gone").inc()

    def _plain_upload(self) -> _Upload | None:
        if (
            self.url != b"/collect"
            or (self.cycle is not None and not self.cycle.response_complete)
            or self.flow.write_paused  # the client is not reading responses: the application waits for it
            or self.parser.get_method() != b"POST"
            or self.parser.get_http_version() != "1.1"
            or not self.parser.should_keep_alive()
        ):
            return None
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        most = min(MAX_PLAIN_BYTES, self.settings.max_body_bytes)
        if (
            not _OTHER_WAY.isdisjoint(headers)
            or not length.isdigit()
            or len(length) > 8
            or int(length) > most
        ):
            return None
        try:
            return _Upload(self.collect.admit(headers), self.collect.hold())
        except RequestError:
            return None

    def _hand_over(self, upload: _Upload) -> None:
        """Hand a plain upload over to the application, with the part of its body received so far."""
        upload.hold.give_back()
        self._upload = None
        self.cycle = cast(RequestResponseCycle, None)  # as before the first request
        super()._begin_request()
        self.cycle.keep_alive = upload.keep_alive  # uvicorn clears this when the server is stopping
        super().on_body(upload.pieces.joined())

    def _stored(
        self, upload: _Upload, points: int, rejected: list[Rejected], stored: "asyncio.Future[None]"
    ) -> None:
        """Send the response to an upload that was stored or failed to be."""
        upload.hold.give_back()
        headers: list[Header] = []
        error = stored.exception()
        if error is None:
            status, answer = self.collect.finish(points, rejected)
        else:
            refused = error if isinstance(error, RequestError) else RequestError("internal_error")
            self.metrics.requests.labels(refused.code).inc()
            status, answer, headers = refusal(refused)
        upload.response_started = upload.response_complete = True
        if not self.transport.is_closing():
            self.transport.write(_response(status, answer, headers, upload.keep_alive))
            if not upload.keep_alive:
                self.transport.close()
        self.on_response_complete()


def _response(status: int, body: bytes, headers: list[Header], keep_alive: bool) -> bytes:
    lines = [JSON_TYPE, (b"content-length", b"%d" % len(body)), *headers]
    if not keep_alive:
        lines.append((b"connection", b"close"))
    return b"%s%s\r\n%s" % (STATUS_LINE[status], b"".join([b"%s: %s\r\n" % line for line in lines]), body)


def uploading(collect: Collect) -> type[UploadProtocol]:
    """Return the protocol class for one collector; its server adds the limits with `bounded`."""
    return type("UploadProtocol", (UploadProtocol,), {"collect": collect})
