"""Every other /v1 path: pass request and response through to and from the default model's address."""

import logging
from http import HTTPStatus

from starlette.types import Scope, Send

from flywheel_core.errors import RequestError, UpstreamError
from flywheel_gateway.collection import Sender
from flywheel_gateway.gateway import Gateway
from flywheel_gateway.headers import check_loop, to_client, to_model
from flywheel_gateway.upstream import KEPT_BACK, TIME_OUTS, Call, told_to_client

logger = logging.getLogger(__name__)

_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
"""Statuses of an answer without a body; a Content-Length there is that of another one, and the server would wait for it."""


async def pass_through(gateway: Gateway, scope: Scope, body: bytes, sender: Sender, send: Send) -> None:
    """Proxy one request with its method, query, body and path below /v1 unchanged.

    Raises RequestError `not_found` for a path that leads out of /v1, `upstream_failed` or `upstream_timeout`
    before the response has begun, `loop_detected` as `check_loop`; UpstreamError after the response has
    begun.
    """
    setup = gateway.setup
    target = setup.targets[setup.config.routing.default_model]
    marks = check_loop(sender.received, gateway.instance)
    query = scope["query_string"]
    path = scope["raw_path"].decode("latin-1")
    steps = scope["path"].split("/")
    if not path.startswith("/v1/") or "\\" in scope["path"] or any(part in (".", "..") for part in steps):
        raise RequestError("not_found")
    call = Call(
        scope["method"],
        f"{target.api_url}{path.removeprefix('/v1')}" + (f"?{query.decode('latin-1')}" if query else ""),
        to_model(sender.received, model=target.name, key=target.key, marks=marks, untouched=True),
        body,
        target.connect_timeout,
        target.timeout,
        streamed=True,  # it may be a stream, so the time limit applies per piece
        proxy=target.proxy,
    )
    begun = False
    try:
        async with gateway.upstream.open(call) as reply:
            if reply.status in KEPT_BACK:
                raise UpstreamError(str(reply.status), code="http_status")
            if 300 <= reply.status < 400 and reply.status != HTTPStatus.NOT_MODIFIED:
                raise RequestError(
                    "upstream_failed", f"{target.name} answered with a redirect, {reply.status}"
                )
            begun = True
            headers = to_client(reply.headers)
            if reply.status in _WITHOUT_BODY:
                headers = [header for header in headers if header[0] != b"content-length"]
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            while piece := await reply.read():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
    except UpstreamError as error:
        reason = f"{error.code}: {error.message}"
        logged = {"model": target.name, "reason": reason}
        if begun:
            logger.warning("answer_cut", extra=logged)
            raise
        code = "upstream_timeout" if error.code in TIME_OUTS else "upstream_failed"
        logger.warning("model_failed", extra=logged)
        raise RequestError(code, f"{target.name}: {told_to_client(reason)}") from None
