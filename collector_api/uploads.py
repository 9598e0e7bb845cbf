"""Plain uploads, answered by the protocol itself: a task and the messages of ASGI cost as much as all else of a small one.

A plain upload is a `POST /collect` in HTTP/1.1 whose body is not packed, has a Content-Length of at most MAX_PLAIN_BYTES,
and comes while nothing else is under way on its connection. Everything else goes through the application, and so does a
plain upload that is refused before anything of it is stored: the application meets the same again, and says so.
"""

import asyncio
import math
from functools import partial
from typing import ClassVar, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from collector_api.collect import Collect
from flywheel_core.errors import RequestError
from flywheel_core.serve.body import Hold
from flywheel_core.serve.limits import BoundedProtocol
from flywheel_core.serve.replies import JSON_TYPE, Header, refusal
from flywheel_core.wire_batch import Rejected

MAX_PLAIN_BYTES = 1024 * 1024

_OTHER_WAY = frozenset((b"content-encoding", b"transfer-encoding", b"expect"))
"""Headers of which the application makes something."""


class _NoEvent:
    """Nobody waits for the pieces of a plain upload."""

    def set(self) -> None:
        """Do nothing."""


class _Upload:
    """One plain upload; to its connection it is a request under way, as uvicorn's own are."""

    __slots__ = (
        "body", "disconnected", "hold", "keep_alive", "message_event", "response_complete", "response_started", "source",
    )  # fmt: skip

    def __init__(self, source: str, hold: Hold) -> None:
        self.source = source
        self.hold = hold
        self.body: bytes | bytearray = b""
        self.message_event = _NO_EVENT
        self.keep_alive = True
        self.disconnected = self.response_started = self.response_complete = False

    def add(self, piece: bytes) -> None:
        """Keep a piece of the body. Most bodies are one."""
        if not self.body:
            self.body = piece
            return
        if isinstance(self.body, bytes):
            self.body = bytearray(self.body)
        self.body += piece


_NO_EVENT = _NoEvent()


class UploadProtocol(BoundedProtocol):
    """HTTP/1.1 for the collector. Subclasses made by `uploading` hold what takes the uploads."""

    collect: ClassVar[Collect]
    _upload: _Upload | None = None
    """The plain upload whose body is coming."""

    def _begin_request(self) -> None:
        """The headers are there: of a plain upload, or of something for the application."""
        self._upload = upload = self._plain_upload()
        if upload is None:
            super()._begin_request()
        else:
            self.cycle = cast(RequestResponseCycle, upload)

    def on_body(self, body: bytes) -> None:
        """Keep a piece of a plain upload within the bounds of all bodies together."""
        upload = self._upload
        if upload is None:
            super().on_body(body)
            return
        self._framing_bytes = 0
        upload.add(body)
        try:
            upload.hold.take(len(body))
        except RequestError:
            self._hand_over(upload)

    def on_message_complete(self) -> None:
        """Decode a plain upload, and have it stored."""
        upload = self._upload
        if upload is None:
            super().on_message_complete()
            return
        try:
            stored, points, rejected = self.collect.begin(bytes(upload.body), upload.source)
        except Exception:  # noqa: BLE001 - the application meets it again, and answers it
            self._hand_over(upload)
            super().on_message_complete()
            return
        self._upload = None
        upload.body = b""
        self._waits_for, self._due = "answer", math.inf
        stored.add_done_callback(partial(self._stored, upload, points, rejected))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and the upload that does not come whole any more."""
        super().connection_lost(exc)
        if self._upload is not None:
            self._upload.hold.give_back()
            self._upload = None
            self.metrics.requests.labels("client_gone").inc()

    def _plain_upload(self) -> _Upload | None:
        if (
            self.url != b"/collect"
            or (self.cycle is not None and not self.cycle.response_complete)
            or self.flow.write_paused  # the client does not read its answers: the application waits for it
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
        """Let the application have a plain upload as far as it has come."""
        upload.hold.give_back()
        self._upload = None
        self.cycle = cast(RequestResponseCycle, None)  # as before the first request
        super()._begin_request()
        self.cycle.keep_alive = upload.keep_alive  # not any more once the server stops
        super().on_body(bytes(upload.body))

    def _stored(
        self, upload: _Upload, points: int, rejected: list[Rejected], stored: "asyncio.Future[None]"
    ) -> None:
        """Answer an upload that was stored, or could not be."""
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
    """The protocol class for one collector, to be bounded by its server."""
    return type("UploadProtocol", (UploadProtocol,), {"collect": collect})
