"""An HTTP proxy on a real socket, as a company has one between its servers and the internet."""

import contextlib
import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

WAIT_SECONDS = 30.0


@dataclass
class Proxy:
    """A running proxy. It knows one host by every name, `beyond`.

    refusal: status with which it refuses everything, or None. asked: method and target of every request, and the
    credentials that came with it.
    """

    address: str
    beyond: tuple[str, int]
    refusal: str | None = None
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)


@contextlib.contextmanager
def proxy_to(beyond: str, refusal: str | None = None) -> Iterator[Proxy]:
    """Run a proxy in front of the server at the address `beyond`."""
    parts = urlsplit(beyond)
    assert parts.hostname and parts.port
    proxy = Proxy("", (parts.hostname, parts.port), refusal)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            if line := self.rfile.readline():
                _serve(proxy, self, line)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        proxy.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield proxy
        server.shutdown()
        thread.join(WAIT_SECONDS)


def _serve(proxy: Proxy, client: socketserver.StreamRequestHandler, line: bytes) -> None:
    method, target, version = line.split()
    lines = list(iter(client.rfile.readline, b"\r\n"))
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(b":") for one in lines)}
    credentials = headers.get(b"proxy-authorization")
    proxy.asked.append((method.decode(), target.decode(), credentials.decode() if credentials else None))
    if proxy.refusal is not None:
        client.connection.sendall(f"HTTP/1.1 {proxy.refusal}\r\nContent-Length: 0\r\n\r\n".encode())
        return
    with socket.create_connection(proxy.beyond, WAIT_SECONDS) as server:
        if method == b"CONNECT":
            assert b"authorization" not in headers, "the model's key is not for the proxy"
            client.connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            url = urlsplit(target.decode())
            assert url.scheme == "http", "a proxy is asked for a whole address"
            kept = [one for one in lines if not one.lower().startswith((b"proxy-", b"connection:"))]
            body = client.rfile.read(int(headers.get(b"content-length", b"0")))
            server.sendall(
                b"%s %s %s\r\n" % (method, url._replace(scheme="", netloc="").geturl().encode(), version)
            )
            server.sendall(b"".join([*kept, b"Connection: close\r\n\r\n", body]))
            server.shutdown(socket.SHUT_WR)
        _relay(client.connection, server, both=method == b"CONNECT")


def _relay(client: socket.socket, server: socket.socket, *, both: bool) -> None:
    """Pass on what comes until a side ends; without `both`, of one answer, until the server has sent it."""
    ways = {server: client, **({client: server} if both else {})}
    while True:
        ready, _, _ = select.select(list(ways), [], [], WAIT_SECONDS)
        if not ready:
            return
        for one in ready:
            try:
                piece = one.recv(65_536)
            except ConnectionError:
                return
            if not piece:
                return
            ways[one].sendall(piece)
