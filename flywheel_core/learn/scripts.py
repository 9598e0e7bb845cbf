"""Tells the script that a text is written in: where a router never saw one, nothing that it learned applies.

The share of known n-grams cannot tell that alone. Half of the n-grams of a short Chinese question occur in no other, so
few are enough to be familiar among such, and hashed to the same numbers a third of an English question's seem known.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from flywheel_core.learn.text import excerpt

_RANGES = (
    (0x00, ""),
    (0x41, "Latin"),
    (0x5B, ""),
    (0x61, "Latin"),
    (0x7B, ""),
    (0xC0, "Latin"),
    (0x370, ""),
    (0x400, "Cyrillic"),
    (0x530, "Armenian"),
    (0x590, "Hebrew"),
    (0x600, "Arabic"),
    (0x700, "other"),
    (0x900, "Indian"),
    (0xE00, "Thai"),
    (0xE80, "other"),
    (0x10A0, "Georgian"),
    (0x1100, "Hangul"),
    (0x1200, "other"),
    (0x1E00, "Latin"),
    (0x1F00, ""),
    (0x2E80, "Han and Kana"),
    (0x2FF0, ""),
    (0x3040, "Han and Kana"),
    (0xA000, "other"),
    (0xAC00, "Hangul"),
    (0xD7B0, ""),
    (0xF900, "Han and Kana"),
    (0xFB00, "other"),
    (0xFE00, ""),
    (0x10000, "other"),
    (0x1D400, ""),
    (0x1E800, "other"),
    (0x1F000, ""),
    (0x20000, "Han and Kana"),
    (0x323B0, ""),
)
"""First code point of each range of Unicode 15 and the script of its letters.

Empty for signs, digits and emoji, and for Greek, whose letters are signs in formulas of every language.
"""
_STARTS = np.array([start for start, _ in _RANGES])
_NAMES = sorted({name for _, name in _RANGES})
_SCRIPTS = np.array([_NAMES.index(name) for _, name in _RANGES])
_LATIN = _NAMES.index("Latin")
_LEAST = 0.1
"""Share of a text's letters from which on it is in another script than Latin, which names, terms and code have everywhere."""

_SHARE = 0.01


def script_of(text: str) -> str:
    """Return the script of a text, empty when it has no letters. Of a long text, both ends are read."""
    text = excerpt(text)
    if text.isascii():
        return "Latin" if any(map(str.isalpha, text)) else ""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    counts = np.bincount(_SCRIPTS[np.searchsorted(_STARTS, codes, "right") - 1], minlength=len(_NAMES))
    counts[0] = 0
    letters, latin = int(counts.sum()), int(counts[_LATIN])
    if letters - latin < _LEAST * letters or latin == letters:
        return "Latin" if latin else ""
    counts[_LATIN] = 0
    return _NAMES[int(counts.argmax())]


def scripts_of(texts: Sequence[str], least: float) -> tuple[str, ...]:
    """Return the scripts that at least `least` of the texts are in, and a hundredth of them, sorted.

    Among Chinese questions there are always some that consist of formulas, and these do not make English familiar. Texts
    without letters do not count.
    """
    counts = Counter(map(script_of, texts))
    least = max(least, _SHARE * len(texts))
    return tuple(sorted(script for script, count in counts.items() if script and count >= least))
