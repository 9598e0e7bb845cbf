"""The life of a server process: listen, announce the address, serve, drain, end."""

import asyncio
import contextlib
import errno
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from flywheel_core.config import Server
from flywheel_core.errors import UsageError
from flywheel_core.serve.access import HOST_HINT
from flywheel_core.serve.limits import BoundedProtocol, bounded
from flywheel_core.serve.memory import give_large_buffers_back
from flywheel_core.serve.metrics import ServerMetrics
from flywheel_core.serve.open_files import allow_open_files
from flywheel_core.serve.signals import signals_end_the_server_only

log = logging.getLogger("flywheel.serve")

Application = Callable[[Any, Any, Any], Any]
"""An ASGI callable."""

BACKLOG = 1_024

LOOK_SECONDS = 0.1
"""Longest time until a server that was told to end notices it."""


class Drain:
    """The time that a server has to end: one deadline for its connections and for the work that follows them.

    seconds: from the moment when the server was told to end.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None

    def left(self, least: float = 0.0) -> float:
        """Return the seconds that are left, at least `least`; the first call starts the time."""
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._seconds
        return max(least, self._until - now)


def serve(
    application: Application,
    settings: Server,
    metrics: ServerMetrics,
    running: AbstractAsyncContextManager[object],
    protocol: type[BoundedProtocol] = BoundedProtocol,
    *,
    data_dir: Path,
    drain: Drain | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then drain: finish open requests, accept no new connection.

    `running` is entered before the first connection is accepted and left after the last response. The first
    line on standard output is `{"event": "listening", "address": "http://HOST:PORT"}`. The log also names
    `data_dir`, because two servers started in different working folders easily end up with different data
    folders. Requests that do not end within `drain`, of `settings.drain_timeout` unless given, are cut off.
    Raises UsageError when the address cannot be listened on, and whatever `running` raises.
    """
    give_large_buffers_back()
    allow_open_files(settings.max_connections)
    server = _server(application, settings, bounded(protocol, settings, metrics))
    listener = listen(settings.host, settings.port)
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with contextlib.closing(listener), signals_end_the_server_only(server), runner:
        drain = drain or Drain(settings.drain_timeout)
        runner.run(_serve(server, settings, running, listener, data_dir.absolute(), drain))


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises UsageError when the address cannot be listened on."""
    if not host:  # to the system it means every address, which nobody asked for who left a variable unset
        raise UsageError("cannot listen on an empty host", hint=HOST_HINT)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror}", hint=_listening_hint(error)
        ) from None
    except (TypeError, UnicodeError):
        listener.close()
        raise UsageError(
            f"cannot listen on {host!r}: it cannot be the name of a host", hint=HOST_HINT
        ) from None
    except OverflowError:
        listener.close()
        raise UsageError(
            f"cannot listen on {host}:{port}: that is not a port",
            hint="--port takes a number from 0 to 65535",
        ) from None
    return listener


def _listening_hint(error: OSError) -> str:
    """Return a hint for an address that cannot be listened on; a new port does not help a wrong host."""
    if error.errno == errno.EADDRINUSE:
        return "end what listens there, or choose another --port"
    if error.errno == errno.EACCES:
        return "choose a --port from 1024 on: those below are the system's"
    return HOST_HINT


def address_of(listener: socket.socket) -> str:
    """Return the base URL that clients use."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(application: Application, settings: Server, protocol: type[BoundedProtocol]) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            application,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(settings.idle_timeout) + 1,
            timeout_graceful_shutdown=int(settings.drain_timeout) + 1,
            backlog=BACKLOG,
        )
    )


async def _serve(
    server: uvicorn.Server,
    settings: Server,
    running: AbstractAsyncContextManager[object],
    listener: socket.socket,
    data_dir: Path,
    drain: Drain,
) -> None:
    async with running, _sweeping(server, settings, drain):
        address = address_of(listener)
        print(json.dumps({"event": "listening", "address": address}), flush=True)  # noqa: T201 - the line is an interface
        log.info("listening", extra={"address": address, "data_dir": str(data_dir)})
        await server.serve(sockets=[listener])
    log.info("ended")


@asynccontextmanager
async def _sweeping(server: uvicorn.Server, settings: Server, drain: Drain) -> AsyncIterator[None]:
    """Close overdue connections while the server runs, and all of them once draining has taken too long."""

    async def sweep() -> None:
        loop = asyncio.get_running_loop()
        deadlines = (settings.header_timeout, settings.body_timeout, settings.idle_timeout)
        pause = min(0.5, min(deadlines) / 4)
        next_sweep = loop.time() + pause
        draining = False
        while True:
            await asyncio.sleep(min(pause, LOOK_SECONDS))
            now = loop.time()
            if now < next_sweep and not server.should_exit:
                continue
            next_sweep = now + pause
            connections = [
                item for item in server.server_state.connections if isinstance(item, BoundedProtocol)
            ]
            for connection in connections:
                connection.close_overdue(now)
            if not server.should_exit:
                continue
            left = drain.left()
            if not draining:
                draining = True
                log.info("draining", extra={"connections": len(connections)})
            if left == 0:
                for connection in connections:
                    connection.transport.abort()

    task = asyncio.create_task(sweep())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
