"""Run the simulated services on uvicorn, in the foreground or in a thread."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import click
import uvicorn
from starlette.types import ASGIApp

from flywheel_core.serve.lifecycle import address_of, listen
from flywheel_core.serve.signals import signals_end_the_server_only
from simulation.service import Service, create_app

_START_S = 30.0
_STOP_S = 5


def serve(app: ASGIApp, listener: socket.socket, greeting: str) -> None:
    """Print `greeting`, serve until SIGINT, SIGTERM or SIGHUP, then finish open requests within 5 seconds."""
    server = _server(app)
    with signals_end_the_server_only(server):
        click.echo(greeting)
        server.run(sockets=[listener])


@contextmanager
def running(service: Service | None = None) -> Iterator[str]:
    """Run the services in a thread on a free loopback port; yields their base URL, without `/v1`."""
    with closing(listen("127.0.0.1", 0)) as listener:
        server = _server(create_app(service))
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="simulation", daemon=True
        )
        thread.start()
        try:
            yield address_of(listener)
        finally:
            server.should_exit = True
            thread.join(_START_S)


def _server(app: ASGIApp) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_STOP_S,
    )
    return uvicorn.Server(config)
