"""A scripted model: a server on a real socket that writes exactly the bytes it is told to, and records requests."""

import json
import select
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Script = Iterable[bytes | float]
"""The parts of one reply: bytes are written, floats are waits in seconds, and empty bytes close the connection."""


@dataclass(frozen=True)
class Arrived:
    """One request as received."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for found, value in self.headers if found.lower() == name), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ScriptedModel:
    """A server that answers every request with the reply that `script` returns.

    requests: all requests so far. connections: the number of connections so far. left: set when a client disconnects
    before its reply is complete.
    """

    def __init__(self, script: Callable[[Arrived], Script]) -> None:
        self.script = script
        self.requests: list[Arrived] = []
        self.left = threading.Event()
        self.connections = 0
        model = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                model.connections += 1
                try:
                    while (request := _read(self.rfile)) is not None:
                        model.requests.append(request)
                        if not self._reply(model.script(request)):
                            return
                except ConnectionError:
                    model.left.set()

            def _reply(self, script: Script) -> bool:
                for piece in script:
                    if isinstance(piece, float):
                        if _gone(self.connection, piece):
                            model.left.set()
                            return False
                    elif piece:
                        self.connection.sendall(piece)
                    else:
                        return False
                return True

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False
            allow_reuse_address = True
            request_queue_size = 256

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _gone(connection: socket.socket, seconds: float) -> bool:
    """Wait at most `seconds`; return whether the client closed the connection meanwhile."""
    readable, _, _ = select.select([connection], [], [], seconds)
    return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""


def _read(file: Any) -> Arrived | None:
    line = file.readline().decode("latin-1")
    if not line:
        return None
    method, path, _ = line.split(" ", 2)
    headers = []
    while (line := file.readline().decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers.append((name, value.strip()))
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Arrived(method, path, headers, file.read(length))


def reply(
    body: bytes, status: str = "200 OK", media_type: str = "application/json", *extra: tuple[str, str]
) -> Script:
    """Return a complete reply with a Content-Length; `extra` are further headers."""
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {media_type}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in extra),
    ]
    return ["\r\n".join([*lines, "", ""]).encode() + body]


def completion(text: str, model: str = "m", finish_reason: str = "stop") -> bytes:
    """Return the body of a chat completion with 10 prompt tokens and 20 completion tokens."""
    message = {"role": "assistant", "content": text}
    value = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30},
    }
    return json.dumps(value).encode()


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def chunk(piece: bytes) -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(piece), piece)


STREAM_END = b"0\r\n\r\n"


def event(text: str | None, finish_reason: str | None = None) -> bytes:
    """Return one event of a streamed answer; without `text` its delta is empty."""
    delta = {} if text is None else {"content": text}
    value = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }
    return b"data: " + json.dumps(value).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
