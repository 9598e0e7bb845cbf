"""`python -m benchmarks.services`: models and a scorer with fixed delays, for measuring callers.

Answers have the size of real models' answers (about 1.5 KB). Prints the port that it listens on.
"""

import argparse
import asyncio
import json
import ssl
from typing import cast

import uvloop

ANSWER = "这是一个示例答案 with some English text, and a formula x^2+2x-3=0. " * 20
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_736_467_200,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 400, "total_tokens": 420},
}


class Service(asyncio.Protocol):
    """One keep-alive connection: reads complete requests and answers each after its delay."""

    def __init__(self, chat: tuple[float, bytes], score: tuple[float, bytes]) -> None:
        self._chat = chat
        self._score = score
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            delay, reply = self._score if head.startswith(b"post /v1/evaluate") else self._chat
            asyncio.get_running_loop().call_later(delay, self._write, reply)

    def _write(self, reply: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(reply)


def http_reply(value: object, *, chunked: bool) -> bytes:
    """Return a complete HTTP/1.1 response with `value` as JSON, in one piece or in chunks of 512 bytes."""
    body = json.dumps(value, ensure_ascii=False).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    if not chunked:
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    pieces = [body[at : at + 512] for at in range(0, len(body), 512)]
    return (
        head
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        + b"0\r\n\r\n"
    )


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until killed."""
    context = None
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate)
    chat = arguments.model_ms / 1000, http_reply(COMPLETION, chunked=arguments.chunked)
    score = arguments.scorer_ms / 1000, http_reply({"score": 0.8231}, chunked=arguments.chunked)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Service(chat, score), "127.0.0.1", 0, ssl=context, backlog=4_096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.services", description=__doc__)
    parser.add_argument("--model-ms", type=float, default=50.0, help="delay of a model's answer")
    parser.add_argument("--scorer-ms", type=float, default=20.0, help="delay of a score")
    parser.add_argument("--chunked", action="store_true", help="answer in chunks")
    parser.add_argument("--certificate", help="serve https with this PEM file of key and certificate")
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
