"""Streamed answers: put together from events that come in any pieces, and the failures of streams."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel_core.collect import stream as stream_module
from flywheel_core.collect.answer import ANSWER_ERRORS, MAX_ANSWER_BYTES, Answer, read_answer
from flywheel_core.collect.scoring import code_of
from flywheel_core.collect.stream import StreamReader
from flywheel_core.records import NULL


def event(**chunk: Any) -> bytes:
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


def delta(text: str, finish_reason: str | None = None, index: int = 0) -> bytes:
    return event(choices=[{"index": index, "delta": {"content": text}, "finish_reason": finish_reason}])


DONE = b"data: [DONE]\n\n"


def read(stream: bytes, size: int = 10_000, *, several: bool = False) -> Answer:
    reader = StreamReader(several=several)
    for at in range(0, len(stream), size):
        reader.feed(stream[at : at + size])
    return reader.answer()


def test_a_stream_is_put_together() -> None:
    """Deltas are joined; a last chunk without choices holds the usage."""
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    stream = delta("求解") + delta(" x") + delta("", "stop") + event(choices=[], usage=usage) + DONE
    answer = read(stream)
    assert (answer.text, answer.finish_reason, answer.error) == ("求解 x", "stop", None)
    assert msgspec.json.decode(answer.usage) == usage


@pytest.mark.parametrize("refusal", ["1e999", "[1e999]", '" "', "1e-999", "-0.0"])
def test_a_field_of_any_json_value_raises_nothing(refusal: str) -> None:
    """Numbers that no float can hold are JSON too."""
    message = f'{{"content": "hi", "refusal": {refusal}}}'
    reply = f'{{"choices": [{{"message": {message}, "finish_reason": "stop"}}]}}'
    assert read_answer(200, "application/json", reply.encode()).text == "hi"
    assert read(f'data: {{"choices": [{{"delta": {message}}}]}}\n\n'.encode() + DONE).text == "hi"


@given(st.integers(1, 40))
def test_where_a_stream_is_cut_into_pieces_does_not_matter(size: int) -> None:
    """Pieces may end anywhere, even inside a character."""
    stream = (
        b": comment\r\nevent: x\r\n" + delta("你好", None).replace(b"\n", b"\r\n") + delta("!", "stop") + DONE
    )
    assert read(stream, size).text == "你好!"


def test_a_line_that_comes_in_thousands_of_pieces_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it were scanned again with each piece, the largest stream allowed would take a minute."""
    looked_at = []
    line_end = stream_module._LINE_END

    class Counted:
        def split(self, piece: bytes) -> list[bytes]:
            looked_at.append(len(piece))
            return line_end.split(piece)

    monkeypatch.setattr(stream_module, "_LINE_END", Counted())
    text = "x" * (MAX_ANSWER_BYTES - 1_000)
    events = delta(text) + delta("!", "stop") + DONE
    assert read(events, 1_000).text == text + "!"
    assert sum(looked_at) == len(events)


def test_blank_lines_are_passed_over_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four megabytes of them are only four kilobytes of gzip."""
    taken = []
    take = StreamReader._take

    def counted(self: StreamReader, line: bytes, *, whole: bool = True) -> None:
        taken.append(line)
        take(self, line, whole=whole)

    monkeypatch.setattr(StreamReader, "_take", counted)
    assert read(b"\n\r" * 4_000 + delta("a", "stop") + b"\r\n" * 4_000 + DONE).text == "a"
    assert len([line for line in taken if line]) == 2
    assert len(taken) < 10


@pytest.mark.parametrize("error", [None, "", {}])
def test_a_field_for_errors_that_is_empty_is_none(error: object) -> None:
    """The official clients pass over it too, so the user has the whole answer."""
    choices = [{"index": 0, "delta": {"content": "42"}, "finish_reason": "stop"}]
    reader = StreamReader()
    reader.feed(event(choices=choices, error=error) + DONE)
    assert reader.opening_error is None
    assert (reader.answer().text, reader.answer().error) == ("42", None)


def test_what_surrounds_the_text_of_a_stream_does_not_count_towards_its_size() -> None:
    """Twenty thousand tokens of reasoning come in five megabytes of events, and as a whole in a hundredth of that."""
    thought = event(id="c" * 100, choices=[{"index": 0, "delta": {"reasoning_content": " the"}}])
    thoughts = thought * (MAX_ANSWER_BYTES // len(thought) + 1)
    answer = read(thoughts + delta("42", "stop") + event(usage={"total_tokens": 9}) + DONE, 65_536)
    assert (answer.text, answer.error) == ("42", None)
    assert bytes(answer.usage) == b'{"total_tokens":9}'


def test_the_text_of_a_stream_counts_towards_its_size() -> None:
    events = delta("你" * 1_000) * (MAX_ANSWER_BYTES // 3_000 + 1) + delta("!", "stop") + DONE
    assert read(events, 65_536).error == "body_too_large"


def test_a_stream_of_nothing_but_lines_is_not_read_to_its_end() -> None:
    assert read(delta("a", "stop") + b":\n" * (stream_module.MAX_LINES + 1)).error == "body_too_large"


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"", "truncated: the stream ended early"),
        (delta("4"), "truncated: the stream ended early"),
        (delta("4") + delta("2")[:-9], "truncated: the stream ended early"),
        (delta("4", "length") + DONE, "truncated: finish_reason length"),
        (DONE, "empty_answer"),
        (delta("", "content_filter") + DONE, "content_filter"),
        (delta("4") + b"data: {oops\n\n" + DONE, "malformed_body"),
        (delta("4") + event(error={"message": "overloaded"}) + DONE, "malformed_body"),
        (event(choices=[{"delta": {"tool_calls": [{}]}, "finish_reason": "tool_calls"}]) + DONE, "tool_call"),
        (event(choices=[{"delta": {"function_call": {"name": "f"}}}]) + DONE, "tool_call"),
        (delta("4") * 100_000 + DONE, "body_too_large"),
    ],
    ids=[
        "empty",
        "cut",
        "cut chunk",
        "length",
        "nothing",
        "filter",
        "garbage",
        "error",
        "tool",
        "function",
        "large",
    ],
)
def test_streams_that_are_no_whole_answer(stream: bytes, error: str) -> None:
    """A stream that was cut off is truncated, never complete."""
    answer = read(stream)
    assert answer.error is not None
    assert answer.error.startswith(error)
    assert code_of(answer.error) in ANSWER_ERRORS


def test_streamed_text_parts_are_read_and_thoughts_are_not() -> None:
    """Mistral's reasoning models stream lists of parts; a word may be cut between two of them."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "first, I add"}]}
    contents: list[Any] = [
        "",
        [thought],
        [{"type": "text", "text": "for"}],
        [{"type": "text", "text": "ty"}],
        "",
    ]
    stream = b"".join(event(choices=[{"delta": {"content": content}}]) for content in contents)
    answer = read(stream + delta("", "stop") + DONE)
    assert (answer.text, answer.error) == ("forty", None)


def test_a_last_chunk_without_a_delta_ends_the_answer() -> None:
    answer = read(delta("4") + event(choices=[{"index": 0, "finish_reason": "stop"}]))
    assert (answer.text, answer.finish_reason, answer.error) == ("4", "stop", None)


def test_a_stream_without_done_but_with_a_finish_reason_is_whole() -> None:
    """Some servers omit [DONE]."""
    assert read(delta("42", "stop")).error is None


def test_only_the_first_of_several_choices_is_read() -> None:
    """Other choices are other answers."""
    assert read(delta("a") + delta("z", index=1) + delta("b", "stop") + DONE, several=True).text == "ab"


@pytest.mark.parametrize("indices", [(0, 1, 2), (1, 1, 1), (None, None, None)])
def test_of_a_single_answer_every_choice_is_a_piece(indices: tuple[int | None, ...]) -> None:
    """Foundry Local 0.7.117 counted the pieces, and gateways are known that begin at 1."""
    texts = zip(("4", "2", ""), (None, None, "stop"), indices, strict=True)
    choices = [{"index": at, "delta": {"content": text}, "finish_reason": end} for text, end, at in texts]
    answer = read(b"".join(event(choices=[choice]) for choice in choices) + DONE)
    assert (answer.text, answer.finish_reason, answer.error) == ("42", "stop", None)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_a_failure(stream: bytes) -> None:
    """Nothing that a stream contains makes reading fail."""
    answer = read(b"data:" + stream, 7)
    assert answer.error is not None or answer.text
    assert answer.usage == NULL or bytes(answer.usage).startswith(b"{")


@pytest.mark.parametrize(
    "finish_reason",
    ["abort", "error", "insufficient_system_resource", "max_tokens", "model_context_window_exceeded"],
)
def test_an_answer_that_its_service_broke_off_is_cut_off(finish_reason: str) -> None:
    """vLLM, OpenRouter, DeepSeek and others end such an answer with a finish reason of their own, and with [DONE]."""
    body = {"choices": [{"message": {"content": "The answer is"}, "finish_reason": finish_reason}]}
    whole = read_answer(200, "application/json", json.dumps(body).encode())
    streamed = read(delta("The answer is") + delta("", finish_reason) + DONE)
    for answer in (whole, streamed):
        assert (answer.text, answer.error) == ("The answer is", f"truncated: finish_reason {finish_reason}")
