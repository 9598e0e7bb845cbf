"""`POST /collect`: turn a request into durable lines and an HTTP response."""

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec

from collector_api.commits import Committer
from collector_api.metrics import CollectorMetrics
from collector_api.rejects import rejected_lines
from flywheel_core.config import Collector
from flywheel_core.errors import REQUEST_CODES, RequestError
from flywheel_core.lake.layout import day_of
from flywheel_core.records import SCHEMA_VERSION, DataPoint
from flywheel_core.serve.access import Access
from flywheel_core.serve.body import Budget, Headers, Hold, Receive, read_body
from flywheel_core.wire_batch import Batch, Rejected, decode_parts

SUCCESS = b"Data collected successfully"

_ENCODER = msgspec.json.Encoder()


class Collect:
    """Handle one batch: authenticate the sender, decode the body, and respond once the points are on disk."""

    def __init__(
        self,
        settings: Collector,
        access: Access,
        committer: Committer,
        metrics: CollectorMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._access = access
        self._committer = committer
        self._metrics = metrics
        self._clock = clock
        self._budget = Budget(settings.max_queue_bytes)
        metrics.queue_bytes.set_function(lambda: self._budget.held)

    async def __call__(self, headers: Headers, receive: Receive) -> tuple[int, bytes]:
        """Store the batch in one request and return the status and body of the response.

        The status is 200, or 422 when points were sent but none was acceptable. Raises RequestError when the
        request is refused, with the code of the refusal; ClientGoneError when the client disconnects before
        its body is complete. If a later part of a large body cannot be stored, the earlier ones stay stored:
        a retry repeats their ids, and the dataset counts each id once.
        """
        source = self.admit(headers)
        with self.hold() as hold:
            body = await read_body(
                headers,
                receive,
                hold,
                self._metrics.note_received,
                max_bytes=self._settings.max_body_bytes,
                max_unpacked_bytes=self._settings.max_unpacked_bytes,
            )
            parts = decode_parts(body, self._settings.max_batch_points)
            del body
            received_at = self._clock()
            points = 0
            rejected: list[Rejected] = []
            for part in parts:  # usually one; a large body is decoded one part at a time to bound memory
                points += len(part.points)
                rejected += part.rejected
                await self._store(part, source, received_at)
        return self.finish(points, rejected)

    def admit(self, headers: Headers) -> str:
        """Return the source named by a batch's headers.

        Raises RequestError when the batch cannot be accepted now. The request is refused for its key, for its
        Content-Type, or because the disk has no room. Counts nothing: it is called twice for a plain upload
        that is handed to the application, see `collector_api/uploads.py`.
        """
        source = self._access.source(headers)
        _check_media_type(headers.get(b"content-type"))
        self._committer.check_room()
        return source

    def hold(self) -> Hold:
        """Return the share of the memory budget for request bodies that one request may take."""
        return Hold(self._budget)

    def begin(self, body: bytes, source: str) -> tuple["asyncio.Future[None]", int, list[Rejected]]:
        """Start storing a complete body of at most `PART_BYTES`.

        Returns a future that is done when the batch is on disk, the number of accepted points, and the
        rejected points; pass the last two to `finish` to get the response. Raises RequestError; nothing has
        been counted or stored then.
        """
        (batch,) = decode_parts(body, self._settings.max_batch_points)
        stored = self._store(batch, source, self._clock())
        self._metrics.note_received(len(body))
        return stored, len(batch.points), batch.rejected

    def finish(self, points: int, rejected: Sequence[Rejected]) -> tuple[int, bytes]:
        """Count a stored batch and return the status and body of its response."""
        for item in rejected:
            self._metrics.rejected_points.labels(item.code).inc()
        if points or not rejected:
            self._metrics.note_ok()
        else:
            self._metrics.requests.labels("nothing_acceptable").inc()
        return _answer(points, rejected)

    def _store(self, batch: Batch, source: str, received_at: float) -> "asyncio.Future[None]":
        """Start storing both the accepted and the rejected points durably, under the day of receipt."""
        lines = _raw_lines(batch.points, source, received_at)
        aside = rejected_lines(batch.rejected, source, received_at) if batch.rejected else ()
        size = len(lines) + sum(len(item.raw) for item in batch.rejected)
        return self._committer.begin(day_of(received_at), lines, aside, len(batch.points), size=size)


def _raw_lines(points: list[DataPoint], source: str, received_at: float) -> bytes:
    for point in points:
        point.source = source
        point.received_at = received_at
        point.schema_version = SCHEMA_VERSION
    # Faster than `encode_lines`, which copies its buffer as it grows.
    return b"\n".join((*map(_ENCODER.encode, points), b""))


def _check_media_type(content_type: bytes | None) -> None:
    if content_type is None or content_type == b"application/json":
        return
    kind, *parameters = (part.strip().lower() for part in content_type.decode("latin-1").split(";"))
    named = (parameter.partition("=")[::2] for parameter in parameters)
    charsets = {value.strip('"') for name, value in named if name == "charset"}
    if kind != "application/json" or not charsets <= {"", "utf-8", "utf8"}:
        raise RequestError("media_type_unsupported", "the Content-Type is not application/json in UTF-8")


def _answer(points: int, rejected: Sequence[Rejected]) -> tuple[int, bytes]:
    if not rejected:
        return 200, b'{"status":"success","count":%d,"message":"%s","rejected":[]}' % (points, SUCCESS)
    named = [{"index": item.index, "code": item.code, "message": item.message} for item in rejected]
    if not points:
        status, message = REQUEST_CODES["nothing_acceptable"]
        refusal = {"status": "error", "code": "nothing_acceptable", "message": message, "count": 0}
        return status, _ENCODER.encode({**refusal, "rejected": named})
    success = {"status": "success", "count": points, "message": SUCCESS.decode(), "rejected": named}
    return 200, _ENCODER.encode(success)
