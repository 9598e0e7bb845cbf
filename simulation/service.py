"""The simulated services as one ASGI application.

| path | what it does |
| --- | --- |
| `POST /v1/chat/completions` | a model's answer, complete or as a stream, after its simulated latency |
| `GET /v1/models` | the models |
| `POST /v1/evaluate` | `{"question", "answer"}` -> `{"score"}`: 0 to 1, or -1 if there is nothing to score |
| `GET /questions` | `?set=training` or `validation`, `?offset=`, `?limit=` |
| `GET /health` | `OK` |
| `GET, POST /admin/faults` | the injected faults; a POST replaces all of them, `{}` ends them |
| `GET /admin/stats` | counts of calls, by model |

Of a conversation, the last user turn is the question (`flywheel_core/prompt.py`); system prompt, temperature
and other settings change nothing.
"""

import math
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from flywheel_core.errors import UsageError
from flywheel_core.prompt import extract_prompt
from simulation.answers import Answer
from simulation.backend import Backend, QuestionSet, Simulated
from simulation.chat_request import read_chat
from simulation.faults import Faults, Injector, parse_faults
from simulation.replies import (
    CutReply,
    completion,
    error_reply,
    malformed_chat,
    malformed_score,
    stream_events,
)
from simulation.stats import Stats
from simulation.streams import Stream, left_within

_MAX_BODY = 8 * 2**20
_QUESTION_SETS: dict[str, QuestionSet] = {"training": "training", "validation": "validation"}


class Service:
    """State and endpoints of one running simulation.

    speed: factor by which answers come faster than in reality, 0 for no waiting at all; question_set: what
    `/questions` serves if the request does not say.
    """

    def __init__(
        self,
        backend: Backend | None = None,
        *,
        speed: float = 1.0,
        question_set: QuestionSet = "training",
        faults: Faults | None = None,
        fault_seed: int = 0,
    ) -> None:
        if speed < 0 or math.isnan(speed):
            raise UsageError(f"speed is {speed:g}; it is 0 (no waiting) or a factor above 0, 1 being life")
        self.backend = backend or Simulated()
        self.stats = Stats()
        self.injector = Injector(faults, fault_seed)
        self._speed = speed
        self._question_set = question_set
        self._models = self.backend.models()
        self._names = {str(model["id"]) for model in self._models}

    async def chat(self, request: Request) -> Response:
        """Handle `POST /v1/chat/completions`."""
        body = await _body(request)
        if isinstance(body, Response):
            return body
        asked = read_chat(body, self._names)
        if isinstance(asked, Response):
            return asked
        question = extract_prompt({"messages": asked.messages}).text
        calls = self.stats.model(asked.model)
        self.stats.note_question(asked.model, question)
        with calls.running():
            answer = self.backend.answer(asked.model, question, asked.limit)
            if answer is None:
                return error_reply(404, "not_recorded", "this question has no recorded answer of this model")
            if isinstance(answer, str):
                calls.failed += 1
                return error_reply(500, "recorded_failure", answer)
            fault = self.injector.for_chat(asked.model)
            if fault is not None:
                calls.failed += 1
            broken = self._broken(fault, asked.stream)
            if broken is not None:
                return broken
            if fault == "hang" and await left_within(request.receive, self.injector.faults.hang_s):
                calls.left += 1
                return Response(status_code=499)
            if fault == "empty":
                answer = Answer("", "stop", answer.prompt_tokens, 0, answer.latency_ms, answer.cost)
            seconds = answer.latency_ms / 1000 / self._speed if self._speed else 0.0
            if asked.stream:
                events = list(stream_events(asked.model, question, answer, asked.choices, asked.with_usage))
                if fault == "cut":
                    return CutReply(b"".join(events), "text/event-stream", declare_length=False)
                return Stream(events, seconds, calls)
            if await left_within(request.receive, seconds):
                calls.left += 1
                return Response(status_code=499)
            payload = JSONResponse(completion(asked.model, question, answer, asked.choices))
            if fault == "cut":
                return CutReply(bytes(payload.body), "application/json", declare_length=True)
            calls.answered += 1
            return payload

    async def evaluate(self, request: Request) -> Response:
        """Handle `POST /v1/evaluate`."""
        body = await _body(request)
        if isinstance(body, Response):
            return body
        try:
            asked = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return error_reply(400, "invalid_request", f'the body is not {{"question", "answer"}}: {error}')
        question, answer = asked.get("question"), asked.get("answer")
        calls = self.stats.evaluate
        with calls.running():
            if await left_within(request.receive, self.injector.faults.score_delay_ms / 1000):
                calls.left += 1
                return Response(status_code=499)
            fault = self.injector.for_score()
            if fault is not None:
                calls.failed += 1
            if fault == "score_error":
                return error_reply(500, "injected_error", "the scorer failed on demand")
            if fault == "score_malformed":
                return malformed_score(self.injector.counts[fault])
            calls.answered += 1
            if fault == "score_invalid" or not isinstance(question, str) or not isinstance(answer, str):
                return JSONResponse({"score": -1.0})
            return JSONResponse({"score": self.backend.evaluate(question, answer)})

    async def models(self, _request: Request) -> Response:
        """Handle `GET /v1/models`."""
        entries = [
            {**model, "object": "model", "created": 0, "owned_by": "simulation"} for model in self._models
        ]
        return JSONResponse({"object": "list", "data": entries})

    async def questions(self, request: Request) -> Response:
        """Handle `GET /questions`."""
        which = _QUESTION_SETS.get(request.query_params.get("set", self._question_set))
        span = [request.query_params.get("offset", "0"), request.query_params.get("limit", "1000000")]
        if which is None or not all(text.isascii() and text.isdigit() for text in span):
            return error_reply(
                400, "invalid_request", "set is training or validation; offset and limit are whole numbers"
            )
        offset, limit = (int(text[:12]) for text in span)
        texts = self.backend.questions(which)
        chosen = list(enumerate(texts))[offset : offset + limit]
        return JSONResponse(
            {"questions": [{"id": f"{number:04d}", "question": text} for number, text in chosen]}
        )

    async def faults(self, request: Request) -> Response:
        """Handle `GET` and `POST /admin/faults`."""
        if request.method == "POST":
            body = await _body(request)
            if isinstance(body, Response):
                return body
            try:
                self.injector.faults = parse_faults(body)
            except UsageError as error:
                return error_reply(400, error.code, str(error))
        return JSONResponse(
            {"faults": msgspec.to_builtins(self.injector.faults), "injected": self.injector.counts}
        )

    async def show_stats(self, _request: Request) -> Response:
        """Handle `GET /admin/stats`."""
        return JSONResponse(self.stats.as_dict())

    def _broken(self, fault: str | None, stream: bool) -> Response | None:
        """Return the response to a call that fails at once, or None."""
        if fault == "error":
            return error_reply(
                self.injector.faults.error_status, "injected_error", "the model failed on demand"
            )
        if fault == "rate_limit":
            return error_reply(
                429,
                "rate_limited",
                "too many requests, on demand",
                {"Retry-After": self.injector.retry_after},
            )
        if fault == "malformed":
            return malformed_chat(self.injector.counts["malformed"], stream)
        return None


def create_app(service: Service | None = None) -> Starlette:
    """Return the ASGI application around `service` (by default: simulated models, real speed, no faults)."""
    service = service or Service()

    async def health(_request: Request) -> Response:
        return PlainTextResponse("OK")

    return Starlette(
        routes=[
            Route("/v1/chat/completions", service.chat, methods=["POST"]),
            Route("/v1/evaluate", service.evaluate, methods=["POST"]),
            Route("/v1/models", service.models),
            Route("/questions", service.questions),
            Route("/health", health),
            Route("/admin/faults", service.faults, methods=["GET", "POST"]),
            Route("/admin/stats", service.show_stats),
        ]
    )


async def _body(request: Request) -> bytes | Response:
    """Return the request's body, or an error response if it is larger than 8 MiB."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            return error_reply(413, "body_too_large", f"the body is larger than {_MAX_BODY} bytes")
    return bytes(body)
