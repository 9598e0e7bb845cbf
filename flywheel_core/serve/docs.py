"""Serve /docs and /openapi.json: Swagger UI from the installed package, nothing from elsewhere."""

from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="docs/favicon-32x32.png">
</head>
<body>
<main id="swagger-ui"></main>
<script src="docs/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({{url: "openapi.json", dom_id: "#swagger-ui", validatorUrl: null}})</script>
</body>
</html>
"""

_WATCHED = frozenset(("/health", "/ready", "/metrics"))


def docs_routes(description: dict[str, Any]) -> list[BaseRoute]:
    """Return the routes that serve an OpenAPI description and its Swagger UI."""

    async def openapi(_request: Request) -> JSONResponse:
        return JSONResponse(description)

    async def page(_request: Request) -> HTMLResponse:
        return HTMLResponse(_PAGE.format(title=description["info"]["title"]))

    return [
        Route("/openapi.json", openapi),
        Route("/docs", page),
        Mount("/docs", StaticFiles(directory=swagger_ui_path)),
    ]


def in_groups(paths: dict[str, dict[str, Any]], task: str) -> dict[str, dict[str, Any]]:
    """Return the paths of a description with their operations in two groups: `task`, and what watches the server."""
    return {
        path: {
            method: {**one, "tags": ["Watching" if path in _WATCHED else task]}
            for method, one in found.items()
        }
        for path, found in paths.items()
    }
