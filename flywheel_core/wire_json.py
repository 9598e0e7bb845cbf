"""Parses the JSON text of one data point, and says why a text is none."""

import json
import math
from typing import Any

import msgspec

from flywheel_core.errors import PointError
from flywheel_core.wire_values import NotFinite

_NAMED_BYTES = 1024 * 1024
"""Largest text, in bytes, in which the field that holds a non-finite number is looked for.

The search needs Python's own JSON decoder, whose result takes ten times the memory of the text.
"""

_ANY = msgspec.json.Decoder()
_PROBE = msgspec.json.Encoder(enc_hook=str)


def parse_json(raw: bytes) -> Any:
    """Return the JSON value of a text. Raises PointError when it is not JSON or not UTF-8, or nested too deep.

    In a text of at most `_NAMED_BYTES`, non-finite numbers become `NotFinite`, so that their field can be named.
    """
    try:
        if not raw.isascii():
            raw.decode()
    except UnicodeDecodeError as error:
        raise PointError("point_not_utf8", f"byte {error.start} of the data point is not UTF-8") from None
    try:
        return _ANY.decode(raw)
    except RecursionError:
        raise PointError("point_too_deep") from None
    except msgspec.MsgspecError as error:
        reason = f"the data point is not JSON: {error}"
    if len(raw) > _NAMED_BYTES:
        raise PointError("point_not_json", reason)
    try:
        value = json.loads(raw.decode(), parse_constant=NotFinite, parse_float=_finite)
        _PROBE.encode(value)
    except RecursionError:
        raise PointError("point_too_deep") from None
    except UnicodeEncodeError:
        raise PointError("point_not_utf8", "an escape stands for half a surrogate pair") from None
    except ValueError:
        raise PointError("point_not_json", reason) from None
    return value


def _finite(text: str) -> float | NotFinite:
    value = float(text)
    return value if math.isfinite(value) else NotFinite(text)
