"""The lines of `data/rejected/`: each rejected data point with its reason and its original text."""

import codecs
import re
from collections.abc import Iterator, Sequence

import msgspec

from flywheel_core.wire_batch import Rejected

_PIECE = 256 * 1024
_NO_UTF8 = re.compile("[\udc80-\udcff]+")
"""The surrogates that `surrogateescape` decodes invalid UTF-8 bytes to."""

_ENCODER = msgspec.json.Encoder()
_decoder_of = codecs.getincrementaldecoder("utf-8")


def rejected_lines(items: Sequence[Rejected], source: str, received_at: float) -> Iterator[bytes]:
    """Yield one line per rejected data point, in pieces that are encoded on demand to bound memory.

    JSON escaping can make a text six times as long. Bytes that are not UTF-8 are kept as \\xNN.
    """
    for item in items:
        known = {
            "received_at": received_at,
            "source": source,
            "code": item.code,
            "message": item.message,
            "index": item.index,
        }
        yield _ENCODER.encode(known)[:-1] + b',"point":"'
        decoder = _decoder_of("surrogateescape")
        for at in range(0, len(item.raw), _PIECE):
            piece = item.raw[at : at + _PIECE]
            text = decoder.decode(piece, final=at + _PIECE >= len(item.raw))
            yield _ENCODER.encode(text if text.isascii() else _NO_UTF8.sub(_escaped, text))[1:-1]
        yield b'"}\n'


def _escaped(found: re.Match[str]) -> str:
    return "\\x" + found[0].encode(errors="surrogateescape").hex(":").replace(":", "\\x")
