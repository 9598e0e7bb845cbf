"""One chat completion: try models in order, pass the response on byte for byte, read it on the way."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.types import Send

from flywheel_core.errors import RequestError, UpstreamError
from flywheel_core.learn.decision import Decision
from flywheel_gateway.headers import RawHeaders, of_decision, to_client, to_model
from flywheel_gateway.recorder import Recorder
from flywheel_gateway.request import ChatRequest
from flywheel_gateway.setup import Target
from flywheel_gateway.upstream import KEPT_BACK, TIME_OUTS, Call, Reply, Upstream, told_to_client

logger = logging.getLogger(__name__)

HELD_BYTES = 1_048_576
"""Bytes of a non-streamed response that are read before any of it is sent.

Until then another model can still replace a broken response.
"""

IMPATIENT_SECONDS = 5.0
"""How long a client has waited for a model, without any of an answer, if its leaving counts as the model's failure.

Who leaves sooner may have stopped what they were typing. Without this a model that hangs would never be passed over
where clients have shorter time-outs than `models.<name>.timeout`.
"""

_MODEL_AT_FAULT = frozenset((401, 402, 403, 404, 407, 408, 429))
"""Statuses below 500 with which another model may do better; the others concern the request itself."""


@dataclass(slots=True)
class Exchange:
    """One request in progress, and afterwards its outcome.

    served: the model whose response the client got; status: the status that the client got; failed: model ->
    why it could not answer, including `served` if the client was sent its error response; latency: seconds
    from asking `served` to the end of its response; complete: whether that end was reached, or the client sent a
    stream's finish reason or `[DONE]`; left: whether the client disconnected in the meantime; left_waiting: the
    model of whose answer nothing had come by then.
    """

    request: ChatRequest
    received: RawHeaders
    decision: Decision
    decision_id: str
    marks: str
    served: str | None = None
    status: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    latency: float = 0.0
    complete: bool = False
    left: bool = False
    left_waiting: str | None = None
    recorder: Recorder | None = None

    @property
    def answered_by(self) -> str | None:
        """The model that gave an answer.

        None also when it was a refusal, or a stream of status 200 with an error, or with nothing but comments.
        """
        said = self.recorder
        refused = said is None or self.status >= 300 or said.opening_error is not None or not said.begun
        return None if refused else self.served

    async def run(self, upstream: Upstream, targets: Sequence[Target], send: Send) -> None:
        """Answer the client from the first target that can.

        Raises RequestError `upstream_failed` or `upstream_timeout` when none can. Raises UpstreamError when
        the response breaks off after part of it was sent; the client's connection must then be closed.
        """
        for at, target in enumerate(targets):
            begun = time.perf_counter()
            answered = False
            self.failed.pop(target.name, None)  # it was paused, but all others failed too
            try:
                async with upstream.open(self._call(target)) as reply:
                    answered = await self._pass_on(target, reply, send, last=at == len(targets) - 1)
            except UpstreamError as error:
                self.failed[target.name] = f"{error.code}: {error.message}"
                if self.served is not None:
                    logger.warning("answer_cut", extra=self._failure(target.name))
                    raise
            except asyncio.CancelledError:
                if self.recorder is None or not self.recorder.begun:
                    self.left_waiting = target.name
                    waited = time.perf_counter() - begun
                    if waited >= IMPATIENT_SECONDS:
                        self.failed[target.name] = f"client_left: without an answer for {waited:.0f} s"
                        logger.warning("model_failed", extra=self._failure(target.name))
                raise
            finally:
                self.latency = time.perf_counter() - begun
            if target.name in self.failed:  # also when the client got its error response
                logger.warning("model_failed", extra=self._failure(target.name))
            if answered:
                return
        codes = {reason.partition(":")[0] for reason in self.failed.values()}
        reasons = "; ".join(f"{name}: {told_to_client(reason)}" for name, reason in self.failed.items())
        raise RequestError(
            "upstream_timeout" if codes <= TIME_OUTS else "upstream_failed",
            f"no model answered: {reasons}",
            headers=of_decision(self.decision, self.decision_id, None),
        )

    def _failure(self, model: str) -> dict[str, str]:
        """Return what to log of a model that did not answer, with the id that the client finds in the headers."""
        return {"decision_id": self.decision_id, "model": model, "reason": self.failed[model]}

    def _call(self, target: Target) -> Call:
        return Call(
            "POST",
            f"{target.api_url}/chat/completions",
            to_model(self.received, model=target.name, key=target.key, marks=self.marks),
            self.request.for_model(
                target.upstream_name, extra=target.extra_body, stream_usage=target.stream_usage
            ),
            target.connect_timeout,
            target.timeout,
            self.request.streamed,
            target.proxy,
        )

    async def _pass_on(self, target: Target, reply: Reply, send: Send, *, last: bool) -> bool:
        """Send the response to the client and return True; if the model failed, note why and return False."""
        status = reply.status
        redirected = 300 <= status < 400
        if redirected or _at_fault(status):
            self.failed[target.name] = f"redirect: {status}" if redirected else f"http_status: {status}"
            if redirected or status in KEPT_BACK or not last:
                return False
        media_type, encoding = reply.header(b"content-type"), reply.header(b"content-encoding")
        recorder = Recorder(status, media_type, encoding, several=self.request.several)
        held, whole = await self._hold(reply, recorder)
        if status == 200 and not (recorder.usable if whole else held):
            self.failed[target.name] = recorder.why_unusable
            return False
        if not last and recorder.opening_error is not None:
            # without the model's words, which may quote the question: this is logged
            code = recorder.opening_error.partition(":")[0]
            self.failed[target.name] = f"{code}: the stream begins with an error"
            return False
        self.served, self.status, self.recorder = target.name, status, recorder
        headers = to_client(reply.headers) + of_decision(self.decision, self.decision_id, target.name)
        if whole and reply.header(b"content-length") is None:
            headers.append((b"content-length", b"%d" % len(held)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        while not whole:
            await send({"type": "http.response.body", "body": held, "more_body": True})
            self.complete = recorder.whole  # many clients leave at once then
            held = await reply.read()
            recorder.feed(held)
            whole = not held
        await send({"type": "http.response.body", "body": held})
        self.complete = True
        return True

    async def _hold(self, reply: Reply, recorder: Recorder) -> tuple[bytes, bool]:
        """Return the start of the body and whether it is all; of a stream, one piece."""
        pieces: list[bytes] = []
        size = 0
        while size <= HELD_BYTES:
            piece = await reply.read()
            recorder.feed(piece)
            if not piece:
                return b"".join(pieces), True
            pieces.append(piece)
            size += len(piece)
            if recorder.streaming:
                break
        return b"".join(pieces), False


def _at_fault(status: int) -> bool:
    return status >= 500 or status in _MODEL_AT_FAULT
