"""What JSON readers of clients take and ours refuses is read all the same: byte order marks, half surrogate pairs."""

import codecs
import json

import pytest

from flywheel_core.collect.answer import lenient, read_answer
from flywheel_core.collect.stream import StreamReader
from flywheel_core.records import DataPoint, Response, encode_point
from flywheel_core.wire import decode_point


def event(text: str, finish_reason: str | None = None) -> bytes:
    delta = {"content": text}
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r'"a \ud83d"', "a \ufffd"),
        (r'"\uD83D\u0041 \uDE00"', "\ufffdA \ufffd"),
        (r'"\ude00\ud83d\ud83d\ude00"', "\ufffd\ufffd\U0001f600"),
        (r'"\ud55c \\ud83d \\\ud83d"', "\ud55c \\ud83d \\\ufffd"),
        ('\ufeff"a"', "a"),
    ],
)
def test_half_pairs_become_replacement_characters_and_nothing_else_changes(text: str, read: str) -> None:
    assert json.loads(lenient(text.encode())) == read


def test_an_answer_with_half_a_pair_is_an_answer() -> None:
    """A service that counts in UTF-16 cuts an emoji in two; it is stored as the collector takes it."""
    body = codecs.BOM_UTF8 + json.dumps({"choices": [{"message": {"content": "two \ud83d"}}]}).encode()
    answer = read_answer(200, "application/json", body)
    assert (answer.text, answer.error) == ("two \ufffd", None)
    response = Response("m", answer.text, 1, usage=answer.usage, raw_response=answer.raw)
    line = encode_point(DataPoint("i", "q", {"m": response}, {"m": None}, 1))
    assert decode_point(line, now=1).responses["m"].answer == "two \ufffd"


def test_a_stream_with_a_mark_and_halves_is_read_from_its_first_event_on() -> None:
    reader = StreamReader()
    for piece in (
        codecs.BOM_UTF8,
        event("two "),
        event("\ud83d"),
        event("\ude00", "stop"),
        b"data: [DONE]\n\n",
    ):
        reader.feed(piece)
    answer = reader.answer()
    assert (answer.text, answer.error) == ("two \ufffd\ufffd", None)
