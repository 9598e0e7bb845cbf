"""The collector's ASGI application: `/collect` is a plain callable, Starlette serves everything else."""

import logging
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from collector_api.collect import Collect
from collector_api.commits import Committer
from collector_api.metrics import CollectorMetrics
from collector_api.openapi import describe
from flywheel_core.errors import RequestError
from flywheel_core.serve.body import ClientGoneError
from flywheel_core.serve.docs import docs_routes
from flywheel_core.serve.limits import REFUSED
from flywheel_core.serve.metrics import CONTENT_TYPE
from flywheel_core.serve.replies import refusal, send_json, send_refusal

log = logging.getLogger("flywheel.collector")


class CollectorApp:
    """Route `/collect` to `collect` and everything else to Starlette; count every response by its code."""

    def __init__(
        self, collect: Collect, committer: Committer, metrics: CollectorMetrics, max_batch_points: int
    ) -> None:
        self._collect = collect
        self._metrics = metrics
        self._others = _other_routes(committer, metrics, max_batch_points)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one ASGI request."""
        if scope["path"] != "/collect":
            await self._others(scope, receive, send)
            return
        if scope["method"] != "POST":
            self._metrics.requests.labels("method_not_allowed").inc()
            await send_refusal(send, RequestError("method_not_allowed", headers=[(b"allow", b"POST")]))
            return
        try:
            status, body = await self._collect(dict(scope["headers"]), receive)
        except RequestError as error:
            self._metrics.requests.labels(error.code).inc()
            await send_refusal(send, error)
        except ClientGoneError:
            if REFUSED not in scope:
                self._metrics.requests.labels("client_gone").inc()
        except Exception:
            log.exception("collect_failed")
            self._metrics.requests.labels("internal_error").inc()
            await send_refusal(send, RequestError("internal_error"))
        else:
            await send_json(send, status, body)


def _other_routes(committer: Committer, metrics: CollectorMetrics, max_batch_points: int) -> Starlette:
    async def health(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("OK")

    async def ready(_request: Request) -> PlainTextResponse:
        await committer.check_ready()
        return PlainTextResponse("ready")

    async def counted(_request: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    async def refuse(_request: Request, error: Exception) -> Response:
        allowed = {}
        if isinstance(error, HTTPException):
            allowed = {"allow": error.headers["Allow"]} if error.headers else {}
            error = RequestError("method_not_allowed" if error.status_code == 405 else "not_found")
        assert isinstance(error, RequestError)  # noqa: S101 - the handlers below are registered for these two alone
        metrics.requests.labels(error.code).inc()
        status, body, headers = refusal(error)
        named = allowed | {name.decode(): value.decode() for name, value in headers}
        return Response(body, status, named, media_type="application/json")

    routes = [
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", counted),
        *docs_routes(describe(max_batch_points)),
    ]
    others = Starlette(routes=routes, exception_handlers={HTTPException: refuse, RequestError: refuse})
    # Starlette's redirect would point at whatever host the client put in its Host header.
    others.router.redirect_slashes = False
    return others
