"""`python -m benchmarks.gateway_model`: a model that also streams, and a scorer, to measure gateways.

A complete answer comes after `--model-ms`; a stream starts then and has 25 events, one every 2 ms. Prints its
port.
"""

import argparse
import asyncio
import json
import re

import uvloop

from benchmarks.services import ANSWER, COMPLETION, Service, http_reply

EVENTS = 25
EVENT_SECONDS = 0.002
STREAM = re.compile(rb'"stream":\s*true')
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def stream_pieces() -> list[bytes]:
    """Return the pieces in which a streamed answer is written, including the end of the body."""
    size = len(ANSWER) // EVENTS + 1
    texts = [ANSWER[at : at + size] for at in range(0, len(ANSWER), size)]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_736_467_200, "model": "m"}
    choices: list[dict[str, object]] = [
        {"index": 0, "delta": {"content": text}, "finish_reason": None} for text in texts
    ]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    events = [
        b"data: " + json.dumps({**head, "choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"
        for choice in choices
    ]
    return [*map(_chunk, events), _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"]


class Model(Service):
    """One connection, which answers as asked: complete or in pieces."""

    pieces: tuple[bytes, ...] = ()

    def data_received(self, data: bytes) -> None:
        if STREAM.search(data) is None:
            super().data_received(data)
        else:
            asyncio.get_running_loop().call_later(self._chat[0], self._next, 0)

    def _next(self, at: int) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(_HEAD + self.pieces[0] if at == 0 else self.pieces[at])
        if at + 1 < len(self.pieces):
            asyncio.get_running_loop().call_later(EVENT_SECONDS, self._next, at + 1)


async def serve(model_ms: float, scorer_ms: float) -> None:
    """Serve until killed."""
    Model.pieces = tuple(stream_pieces())
    chat = model_ms / 1000, http_reply(COMPLETION, chunked=False)
    score = scorer_ms / 1000, http_reply({"score": 0.8231}, chunked=False)
    server = await asyncio.get_running_loop().create_server(
        lambda: Model(chat, score), "127.0.0.1", 0, backlog=4_096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway_model", description=__doc__)
    parser.add_argument("--model-ms", type=float, default=50.0, help="delay of a model's answer")
    parser.add_argument("--scorer-ms", type=float, default=20.0, help="delay of a score")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.model_ms, arguments.scorer_ms))


if __name__ == "__main__":
    main()
