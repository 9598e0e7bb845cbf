"""Checks the texts that msgspec leaves undecoded, in bulk: UTF-8, type, one line, and depth."""

import codecs
import itertools

import msgspec
import numpy as np
import polars as pl

from flywheel_core.wire_values import MAX_DEPTH, is_deeper

_RAW_DEPTH = MAX_DEPTH - 3
"""Deepest nesting of undecoded JSON text: inside a response, its outermost object is at the point's fourth level."""

_FEW = 16
"""With more texts than this, numpy counts brackets faster than a loop."""

OBJECT, LIST, _NULL = b"{[n"

LARGE = 8_192
"""Size in bytes from which polars checks UTF-8 faster than Python (five times as fast at 200 KB).

From this size on, answers are also best left undecoded.
"""

_VERY_LARGE = 1_048_576
_PIECE = 65_536
"""Texts of at least `_VERY_LARGE` bytes are checked in pieces of `_PIECE` bytes.

Polars would need twice the memory of such a text, and keep it.
"""


def is_utf8(text: bytes) -> bool:
    """Return whether a whole text is UTF-8; msgspec does not check the parts that it leaves undecoded."""
    if text.isascii():
        return True
    try:
        if len(text) < LARGE:
            text.decode()
        elif len(text) >= _VERY_LARGE:
            decoder = codecs.getincrementaldecoder("utf-8")()
            for at in range(0, len(text), _PIECE):
                decoder.decode(text[at : at + _PIECE])
            decoder.decode(b"", final=True)
        else:
            pl.Series([text], dtype=pl.Binary).cast(pl.String)
    except (UnicodeDecodeError, pl.exceptions.PolarsError):
        return False
    return True


def are_plain(texts: list[msgspec.Raw], first: int) -> bool:
    """Return whether each text is null or begins with the byte `first`, is on one line and is not nested too deep.

    A text cannot be nested deeper than its number of opening brackets, so most need no closer look.
    """
    views = [memoryview(text) for text in texts]
    joined = b"".join(views)
    if not {view[0] for view in views} <= {first, _NULL} or b"\n" in joined or b"\r" in joined:
        return False
    if len(texts) <= _FEW:
        if joined.count(b"{") + joined.count(b"[") <= _RAW_DEPTH:
            return True
        pieces = [bytes(view) for view in views]
        counts = [piece.count(b"{") + piece.count(b"[") for piece in pieces]
    else:
        marks = np.frombuffer(joined, np.uint8)
        openers = ((marks | 32) == OBJECT).nonzero()[0]  # setting this bit turns [ into { and keeps {
        ends = list(itertools.accumulate(map(len, views)))
        before = openers.searchsorted([0, *ends]).tolist()
        counts = [stop - start for start, stop in itertools.pairwise(before)]
    deep = [text for text, count in zip(texts, counts, strict=True) if count > _RAW_DEPTH]
    return not any(is_deeper(bytes(text), _RAW_DEPTH) for text in deep)
