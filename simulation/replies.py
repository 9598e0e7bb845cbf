"""The bytes on the wire: chat completions as a whole, as a stream, and broken in every way of `faults`."""

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from simulation.answers import Answer

_PIECE = 24
"""Characters per event of a stream."""


def error_reply(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return an error response in OpenAI's format."""
    kind = "invalid_request_error" if status < 500 and status != 429 else "server_error"
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return JSONResponse(body, status_code=status, headers=headers)


def completion(model: str, question: str, answer: Answer, choices: int) -> dict[str, Any]:
    """Return a complete `chat.completion`."""
    message = {"role": "assistant", "content": answer.text}
    return {
        **_head(model, question, "chat.completion"),
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
            for index in range(choices)
        ],
        "usage": _usage(answer, choices),
    }


def stream_events(
    model: str, question: str, answer: Answer, choices: int, with_usage: bool
) -> Iterator[bytes]:
    """Yield the server-sent events of a streamed answer, including `[DONE]`."""
    head = _head(model, question, "chat.completion.chunk")
    if with_usage:
        head["usage"] = None

    def event(index: int, delta: dict[str, str], finish: str | None = None) -> bytes:
        return _event(
            {**head, "choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]}
        )

    for index in range(choices):
        yield event(index, {"role": "assistant", "content": ""})
        for start in range(0, len(answer.text), _PIECE):
            yield event(index, {"content": answer.text[start : start + _PIECE]})
        yield event(index, {}, answer.finish_reason)
    if with_usage:
        yield _event({**head, "choices": [], "usage": _usage(answer, choices)})
    yield b"data: [DONE]\n\n"


def malformed_chat(turn: int, stream: bool) -> Response:
    """Return status 200 and no chat completion: broken JSON, HTML, JSON without choices, or nothing."""
    if stream:
        return Response(
            b'data: {"choices": [{"delta": {"con\n\n' + b"data: [DONE]\n\n", media_type="text/event-stream"
        )
    bodies = (
        (b'{"id": "chatcmpl-broken", "choices": [{"message": {"cont', "application/json"),
        (b"<html><body><h1>502 Bad Gateway</h1></body></html>", "text/html"),
        (b'{"id": "chatcmpl-broken", "object": "chat.completion"}', "application/json"),
        (b"", "application/json"),
    )
    body, kind = bodies[turn % len(bodies)]
    return Response(body, media_type=kind)


def malformed_score(turn: int) -> Response:
    """Return status 200 without a usable score: missing, out of range, NaN, a string, or not JSON."""
    bodies = (b"{}", b'{"score": 2.0}', b'{"score": NaN}', b'{"score": "0.9"}', b"score: 0.9")
    return Response(bodies[turn % len(bodies)], media_type="application/json")


class CutReply(Response):
    """Sends half of `body` and then closes the connection, like a service that crashes midway.

    The server notices that the response is unfinished, drops the connection and logs it.
    """

    def __init__(self, body: bytes, media_type: str, *, declare_length: bool) -> None:
        super().__init__(body, media_type=media_type)
        if not declare_length:
            del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send(
            {"type": "http.response.body", "body": bytes(self.body[: len(self.body) // 2]), "more_body": True}
        )


def _head(model: str, question: str, kind: str) -> dict[str, Any]:
    name = hashlib.blake2b(
        f"{model}\x1f{question}".encode("utf-8", "surrogatepass"), digest_size=12
    ).hexdigest()
    return {"id": f"chatcmpl-{name}", "object": kind, "created": int(time.time()), "model": model}


def _usage(answer: Answer, choices: int) -> dict[str, int]:
    completion_tokens = answer.completion_tokens * choices
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": answer.prompt_tokens + completion_tokens,
    }


def _event(payload: dict[str, Any]) -> bytes:
    return (
        b"data: "
        + json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        + b"\n\n"
    )
