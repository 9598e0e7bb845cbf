"""The ASGI application: which path does what, who may use it, and how every request ends."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.types import Receive, Scope, Send

from flywheel_core.config import Gateway as GatewaySettings
from flywheel_core.errors import RequestError, StorageError, UpstreamError
from flywheel_core.serve.access import ANONYMOUS, LOCAL, Access
from flywheel_core.serve.body import Budget, ClientGoneError, Hold, read_body
from flywheel_core.serve.limits import REFUSED
from flywheel_gateway import endpoints
from flywheel_gateway.about import about_routes
from flywheel_gateway.collection import Sender
from flywheel_gateway.gateway import Gateway
from flywheel_gateway.names import listed
from flywheel_gateway.proxy import pass_through
from flywheel_gateway.replies import send_error

logger = logging.getLogger(__name__)

BODIES_HELD = 8
"""Number of bodies of the largest permitted size that all requests together may hold in memory."""

Endpoint = Callable[[Gateway, bytes, Sender, Send], Awaitable[None]]

MODELS = "/v1/models"
POSTS: dict[str, Endpoint] = {
    "/v1/chat/completions": endpoints.chat,
    "/v1/route": endpoints.route,
    "/v1/observe": endpoints.observe,
}

_SLASHES = re.compile("//+")


def own_address(path: str) -> str:
    """Return the path in the form in which the gateway's own paths are written, without superfluous slashes.

    Clients add slashes when they join a base URL and a path. Such a request must not miss the gateway's own
    paths and go to the default model without routing and collection.
    """
    return _SLASHES.sub("/", path).rstrip("/")


class App:
    """The ASGI application of one gateway."""

    def __init__(self, gateway: Gateway, access: Access, settings: GatewaySettings) -> None:
        self._gateway = gateway
        self._access = access
        self._settings = settings
        self._about = about_routes(gateway)
        largest = max(settings.max_body_bytes, settings.max_unpacked_bytes)
        self._budget = Budget(largest * BODIES_HELD, spare=largest)
        gateway.metrics.held_bytes.set_function(lambda: self._budget.held)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI request."""
        if not scope["path"].startswith("/v1/"):
            await self._about(scope, receive, send)
            return
        code = "ok"
        try:
            with Hold(self._budget) as hold:
                await self._serve(scope, receive, send, hold)
        except RequestError as error:
            code = error.code
            await send_error(send, error)
        except ClientGoneError:
            code = "client_gone"
        except UpstreamError:
            code = "answer_cut"  # returning with the response unfinished closes the connection
        except StorageError as error:
            code = "storage_unavailable"
            logger.error("storage_failed", extra={"reason": error.message})
            await send_error(send, RequestError(code))
        except Exception:
            code = "internal_error"
            logger.exception("request_failed")
            await send_error(send, RequestError(code))
        finally:
            if REFUSED not in scope:
                self._gateway.metrics.requests.labels(code).inc()

    async def _serve(self, scope: Scope, receive: Receive, send: Send, hold: Hold) -> None:
        path, method = own_address(scope["path"]), scope["method"]
        headers = scope["headers"]
        source = self._access.source(dict(headers))
        sender = Sender(headers, None if source in (ANONYMOUS, LOCAL) else source)
        if method in ("GET", "HEAD"):
            if path == MODELS:
                await endpoints.models(self._gateway, send)
                return
            name = scope["path"].removeprefix(f"{MODELS}/")  # unnormalised: model names may contain slashes
            if name in listed(self._gateway.setup.targets):
                await endpoints.model(name, send)
                return
        endpoint = POSTS.get(path)
        if endpoint is not None and method != "POST":
            raise RequestError("method_not_allowed", f"{path} takes POST")
        bounds = self._settings
        unpack = dict(
            headers if endpoint is not None else [item for item in headers if item[0] == b"content-length"]
        )
        body = await read_body(
            unpack,
            receive,
            hold,
            self._gateway.metrics.note_received,
            max_bytes=bounds.max_body_bytes,
            max_unpacked_bytes=bounds.max_unpacked_bytes,
        )
        async with stopping_with_client(receive):
            if endpoint is not None:
                await endpoint(self._gateway, body, sender, send)
            else:
                await pass_through(self._gateway, scope, body, sender, send)


@asynccontextmanager
async def stopping_with_client(receive: Receive) -> AsyncIterator[None]:
    """Cancel what runs in the block when the client disconnects, and raise ClientGoneError then."""
    task = asyncio.current_task()
    left = False

    async def watch() -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        if task is not None:
            task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if left and task is not None and task.uncancel() == 0:
            raise ClientGoneError from None
        raise
    finally:
        watcher.cancel()
