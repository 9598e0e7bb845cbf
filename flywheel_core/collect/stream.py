"""Assemble a streamed answer while its bytes pass through unchanged."""

import codecs
import re
from typing import Any

import msgspec

from flywheel_core.collect.answer import (
    MAX_ANSWER_BYTES,
    Answer,
    failure_of,
    is_given,
    lenient,
    reason_in,
    storable,
    texts_in,
)
from flywheel_core.records import NULL


class _Delta(msgspec.Struct):
    content: Any = None
    refusal: msgspec.Raw = NULL
    tool_calls: msgspec.Raw = NULL
    function_call: msgspec.Raw = NULL


class _StreamChoice(msgspec.Struct):
    index: Any = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_StreamChoice] | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL


_CHUNK = msgspec.json.Decoder(_Chunk)
_LINE_END = re.compile(rb"[\r\n]+")
"""One or more line ends: blank lines carry no data."""
MAX_LINES = 100_000
"""Most lines in a stream: what is kept of each takes more memory than its bytes, and each is decoded."""


class StreamReader:
    """Reads the answer from a stream of server-sent events while its bytes pass through.

    Feed it every piece of the body in order, then call `answer()`. It keeps at most `MAX_ANSWER_BYTES` of text: what
    surrounds the text in each event, and a model's reasoning, are not counted, as the same answer comes whole in far less.

    several: whether the request asked for more than one answer; of several, the one with index 0 is read. Otherwise
    every choice is a piece of the only answer: some services count pieces in `index`, and clients do not look at it.
    """

    def __init__(self, *, several: bool = False) -> None:
        self._several = several
        self._rest = bytearray()
        self._texts: list[str] = []
        self._kept = self._lines = 0
        self._finish_reason: str | None = None
        self._usage = NULL
        self._error: str | None = None
        self._called = self._refused = self._done = False
        self._begun = False

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the body, split anywhere. Never raises."""
        held = self._kept + len(self._rest) + len(piece)
        *ended, rest = _LINE_END.split(piece) if held <= MAX_ANSWER_BYTES else [piece]
        self._lines += len(ended)
        if held > MAX_ANSWER_BYTES or self._lines > MAX_LINES:
            self._kept = MAX_ANSWER_BYTES  # nothing that follows is looked at
            self._error = "body_too_large"
            self._rest.clear()
            return
        for end in ended:
            self._rest += end
            self._take(bytes(self._rest))
            self._rest.clear()
        self._rest += rest

    @property
    def begun(self) -> bool:
        """Whether there was any event: comments only keep the connection alive."""
        return self._begun or self._error is not None

    @property
    def opening_error(self) -> str | None:
        """The error with which the stream begins, or None if there is none or some of an answer came before it."""
        return None if self._called or any(self._texts) else self._error

    @property
    def whole(self) -> bool:
        """Whether the answer has come to its end: a finish reason or `[DONE]`, after which many clients leave."""
        return self._done or self._finish_reason is not None

    def answer(self) -> Answer:
        """Return the answer so far. A stream without `[DONE]` or a finish reason counts as truncated."""
        if self._rest:
            self._take(bytes(self._rest), whole=False)
            self._rest.clear()
        text = "".join(self._texts)
        error = self._error
        if error is None and not self.whole:
            error = "truncated: the stream ended early"
        error = error or failure_of(text, self._finish_reason, called=self._called, refused=self._refused)
        return Answer(text, self._finish_reason, error, self._usage)

    def _take(self, line: bytes, *, whole: bool = True) -> None:
        line = line.removeprefix(codecs.BOM_UTF8)  # a stream may begin with one
        if not line.startswith(b"data:"):
            return
        self._begun = True
        data = lenient(line[5:].strip())
        if data == b"[DONE]":
            self._done = True
            return
        try:
            data.decode()
            chunk = _CHUNK.decode(data)
        except (ValueError, RecursionError) as error:
            if not whole:
                return  # the end of the stream cut this line off
            self._error = self._error or f"malformed_body: {error}"[:300]
            return
        if is_given(chunk.error):
            self._error = self._error or f"malformed_body: the stream has an error{reason_in(data)}"
        usage = storable(chunk.usage)
        if usage is not NULL:
            self._usage = usage
        for choice in chunk.choices or []:
            if not (self._several and choice.index):
                self._take_choice(choice)

    def _take_choice(self, choice: _StreamChoice) -> None:
        self._finish_reason = choice.finish_reason or self._finish_reason
        delta = choice.delta
        if delta is None:
            return
        texts = texts_in(delta.content)
        self._texts.extend(texts)
        self._kept += sum(len(text.encode()) for text in texts)
        called = is_given(delta.tool_calls) or is_given(delta.function_call)
        self._called = self._called or called
        self._refused = self._refused or is_given(delta.refusal)
