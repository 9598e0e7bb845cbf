"""The gateway's own pages outside /v1: /health, /ready, /metrics, and the description of its API."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from flywheel_core.errors import RequestError
from flywheel_core.serve.docs import docs_routes
from flywheel_core.serve.metrics import CONTENT_TYPE
from flywheel_gateway.gateway import Gateway
from flywheel_gateway.openapi import describe
from flywheel_gateway.replies import refusal


def about_routes(gateway: Gateway) -> Starlette:
    """Return the application for every path outside /v1."""

    async def health(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("OK")

    async def ready(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ready", **gateway.router_state()})

    async def counted(_request: Request) -> Response:
        return Response(gateway.metrics.text(), media_type=CONTENT_TYPE)

    async def refuse(_request: Request, error: Exception) -> Response:
        allowed = {}
        refused = RequestError(
            "not_found", "there is nothing at this address; the addresses of the API begin with /v1/"
        )
        if isinstance(error, HTTPException) and error.status_code == 405:
            refused, allowed = RequestError("method_not_allowed"), dict(error.headers or {})
        gateway.metrics.requests.labels(refused.code).inc()
        status, body, _ = refusal(refused)
        return Response(body, status, allowed, media_type="application/json")

    routes = [
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", counted),
        *docs_routes(describe()),
    ]
    about = Starlette(routes=routes, exception_handlers={HTTPException: refuse})
    # Starlette's redirect would point at whatever host the client put in its Host header.
    about.router.redirect_slashes = False
    return about
