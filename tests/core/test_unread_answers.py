"""A client that leaves the end of its last answer unread: its connection ends, however little that is."""

import asyncio
import socket
from typing import Any

import pytest
import uvicorn
import uvloop
from uvicorn.server import ServerState

from flywheel_core.config import Server
from flywheel_core.serve.limits import BoundedProtocol, bounded
from flywheel_core.serve.metrics import ServerMetrics

REST = 60_000
"""Bytes of an answer: more than the small buffers of these sockets, less than what makes the server wait to write."""


async def application(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % REST)]})
    await send({"type": "http.response.body", "body": b"x" * REST})


@pytest.mark.parametrize("last", ["", "Connection: close\r\n"], ids=["kept", "closed by the client's wish"])
def test_a_connection_ends_though_the_end_of_the_last_answer_is_not_read(last: str) -> None:
    async def main() -> tuple[int, bool, dict[str, float]]:
        loop = asyncio.get_running_loop()
        settings, metrics, state = Server(), ServerMetrics("test"), ServerState()
        config = uvicorn.Config(application, lifespan="off", log_config=None)
        config.load()
        protocol = bounded(BoundedProtocol, settings, metrics)
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        server = await loop.create_server(
            lambda: protocol(config=config, server_state=state, app_state={}), sock=listener
        )
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.setblocking(False)
            await loop.sock_connect(client, listener.getsockname())
            await loop.sock_sendall(client, f"GET / HTTP/1.1\r\nHost: x\r\n{last}\r\n".encode())
            for _ in range(500):
                await asyncio.sleep(0.01)
                if state.total_requests:
                    break
            (connection,) = state.connections
            assert isinstance(connection, BoundedProtocol)
            unread = connection.transport.get_write_buffer_size()
            now = loop.time()
            for _ in range(3):
                now += settings.idle_timeout + 1
                if connection in state.connections:
                    connection.close_overdue(now)
                await asyncio.sleep(0.01)
            ended = not state.connections
            connection.transport.abort()  # or the event loop cannot be closed
        server.close()
        await asyncio.sleep(0.01)
        counted = {
            sample.labels["deadline"]: sample.value
            for metric in metrics.registry.collect()
            for sample in metric.samples
            if sample.name == "test_deadlines_total"
        }
        return unread, ended, counted

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        unread, ended, counted = runner.run(main())
    assert 0 < unread < 65_536
    assert ended
    assert counted == ({"write": 1.0} if last else {"idle": 1.0, "write": 1.0})
