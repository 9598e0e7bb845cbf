"""Read a response on its way to the client: its text, its token usage, whether it is a completion."""

import zlib

import msgspec

from flywheel_core.collect.answer import (
    MAX_ANSWER_BYTES,
    Answer,
    is_event_stream,
    is_json_type,
    lenient,
    read_answer,
)
from flywheel_core.collect.stream import StreamReader
from flywheel_core.records import NULL


class _Completion(msgspec.Struct):
    choices: list[msgspec.Raw] = []
    usage: msgspec.Raw = NULL


_COMPLETION = msgspec.json.Decoder(_Completion)


class Recorder:
    """Keeps at most `MAX_ANSWER_BYTES` of one response, decompressed. Feed it every piece in order.

    several: as in `StreamReader`.
    """

    def __init__(
        self, status: int, content_type: str | None, encoding: str | None, *, several: bool = False
    ) -> None:
        self._status = status
        self._content_type = content_type
        self._unpacker = _unpacker(encoding)
        streaming = is_event_stream(content_type) and status == 200
        self._stream = StreamReader(several=several) if streaming else None
        self._body = bytearray()
        self._error: str | None = None
        self._begun = False

    def feed(self, piece: bytes) -> None:
        """Take the next bytes as received, still compressed. Never raises."""
        if self._error is not None:
            return
        if self._unpacker is not None:
            if self._unpacker.eof:
                return  # zlib would keep whatever follows, copying all of it at each piece
            try:
                piece = self._unpacker.decompress(piece, MAX_ANSWER_BYTES + 1)
            except zlib.error as error:
                self._error = f"malformed_body: {error}"
                return
        self._begun = self._begun or bool(piece)
        if self._stream is not None and len(piece) <= MAX_ANSWER_BYTES:
            self._stream.feed(piece)
        elif len(self._body) + len(piece) <= MAX_ANSWER_BYTES:
            self._body += piece
        else:
            self._error = "body_too_large"
            self._body.clear()

    @property
    def streaming(self) -> bool:
        """Whether the response is a stream of events."""
        return self._stream is not None

    @property
    def begun(self) -> bool:
        """Whether any of an answer was fed; of a stream, more than comments that keep the connection alive."""
        return self._begun if self._stream is None else self._stream.begun

    @property
    def whole(self) -> bool:
        """Whether the response is a stream whose answer has come to its end, though the response has not."""
        return self._stream is not None and self._stream.whole

    @property
    def usable(self) -> bool:
        """Whether the client may have what was fed so far: a stream that began, or a whole completion.

        An answer too large to be kept counts as one.
        """
        if self._stream is not None:
            return self._begun
        # It came packed: otherwise its first MiB would have been sent, unchecked.
        if self._error == "body_too_large":
            return is_json_type(self._content_type)
        return self._error is None and self._completion() is not None

    @property
    def opening_error(self) -> str | None:
        """The error with which a stream begins instead of an answer, or None."""
        return None if self._stream is None else self._stream.opening_error

    @property
    def why_unusable(self) -> str:
        """Why the client cannot have what was fed, beginning with a code of `ANSWER_ERRORS`."""
        if self._stream is None and not is_json_type(self._content_type):
            return f"content_type: {(self._content_type or 'none')[:100]}"
        return "malformed_body: not a chat completion"

    def answer(self, *, complete: bool) -> Answer:
        """Return the answer for a data point. complete: whether the body reached its end."""
        if self._error is not None:
            return Answer(error=self._error)
        if self._stream is not None:
            answer = self._stream.answer()
        else:
            answer = read_answer(self._status, self._content_type, bytes(self._body))
        if not complete and answer.error is None:
            answer.error = "truncated: the stream ended early"
        return answer

    def usage(self) -> msgspec.Raw:
        """Return the usage object of the response, or null."""
        if self._stream is not None:
            return self._stream.answer().usage
        completion = self._completion()
        return NULL if completion is None else completion.usage

    def _completion(self) -> _Completion | None:
        if not is_json_type(self._content_type):
            return None
        try:
            completion = _COMPLETION.decode(lenient(bytes(self._body)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return completion if completion.choices else None


def _unpacker(encoding: str | None) -> "zlib._Decompress | None":
    """Return a decompressor for gzip or deflate, or None; the gateway asks models for no other encoding."""
    return zlib.decompressobj(zlib.MAX_WBITS | 32) if (encoding or "identity").lower() != "identity" else None
