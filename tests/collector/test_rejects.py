"""The lines of the rejected file: each is valid JSON and keeps every byte of the data point as received."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from collector_api.rejects import rejected_lines
from flywheel_core.wire_batch import Rejected

TEXTS = st.binary(max_size=40) | st.text(max_size=40).map(str.encode)


@settings(deadline=None, max_examples=60)
@given(st.lists(TEXTS, max_size=4), st.integers(1, 300_000))
def test_every_line_is_json_with_the_text_as_it_came(texts: list[bytes], times: int) -> None:
    """Also for a text that is written in several pieces, split inside a character, and for one that is not UTF-8."""
    items = [
        Rejected(7, "code", 'why "so"\n', memoryview(text * (times if number == 0 else 1)))
        for number, text in enumerate(texts)
    ]
    whole = b"".join(rejected_lines(items, "s", 1.5))
    lines = whole.split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(line) for line in lines] == [
        {
            "received_at": 1.5,
            "source": "s",
            "code": "code",
            "message": 'why "so"\n',
            "index": 7,
            "point": bytes(item.raw).decode(errors="backslashreplace"),
        }
        for item in items
    ]
