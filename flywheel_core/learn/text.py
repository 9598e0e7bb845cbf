"""Turns texts into hashed n-grams and measures of their form.

The functions are pure, and a text gives the same result alone as among others. Characters are Unicode code
points, so that Chinese needs no segmentation. N-grams are read from the case-folded text, with each run of
white space folded to one blank. Of a text longer than `MAX_CHARS`, only the beginning and the end are read,
half that many characters each.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_CHARS = 4_000
CHAR_LENGTHS = range(2, 5)
BUCKET_BITS = 18
BUCKETS = 1 << BUCKET_BITS

_SPACE = re.compile(r"\s+")
_DIGITS = re.compile(r"\d")
_OPTION = re.compile(r"^[ \t]*\(?[A-Za-z0-9]{1,2}[.):、][ \t]*(.*)$", re.MULTILINE)
_LETTER = re.compile(r"[^\W\d_]")
_BASE = np.uint64(0x9E3779B97F4A7C15)
_GAP = 0x11_0000
"""Separates texts that are read together: the smallest number that is not a code point."""

_SIGNS = ("0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "+-*/=^<>", "\\$_{}", "()[]", ",;:", "?!", "\"'")
SURFACE_NAMES = (
    "length",
    "body_length",
    "words",
    "word_length",
    "options",
    "option_length",
    "option_spread",
    "options_with_digits",
    "options_mostly_digits",
    "digits",
    "capitals",
    "operators",
    "markup",
    "brackets",
    "pauses",
    "questions_and_calls",
    "quotes",
    "beyond_ascii",
    "body_digits",
    "lines",
    "distinct_words",
    "blanks_to_fill",
    "ends_with_question",
    "ends_with_colon",
    "ends_with_stop",
)
"""The measures of form, in order: shares and yes/no values in 0..1, counts and lengths as log(1 + x)."""


def _kinds() -> NDArray[np.intp]:
    table = np.zeros(129, dtype=np.intp)
    for kind, signs in enumerate(_SIGNS, start=1):
        table[[ord(sign) for sign in signs]] = kind
    table[128] = len(_SIGNS) + 1
    return table


def _word_characters() -> NDArray[np.bool_]:
    table = np.zeros(_GAP + 1, dtype=bool)
    table[128:_GAP] = True
    table[[code for code in range(128) if chr(code).isalnum()]] = True
    return table


@lru_cache(maxsize=4)
def _powers(base: int, bits: int) -> NDArray[np.uint64]:
    """Return the first 2 ** bits powers of `base`, modulo 2 ** 64."""
    powers = np.full(1 << bits, base, dtype=np.uint64)
    powers[0] = 1
    powers = np.multiply.accumulate(powers)
    powers.flags.writeable = False
    return powers


_KINDS = _kinds()
_WORD = _word_characters()
_INVERSE = pow(int(_BASE), -1, 1 << 64)


class Counts(NamedTuple):
    """How often each bucket occurs in each text, sorted by owner, then bucket.

    owners, buckets, counts: equally long; an owner is the number of a text. texts: how many texts there are.
    """

    owners: NDArray[np.int32]
    buckets: NDArray[np.int32]
    counts: NDArray[np.int32]
    texts: int


class Excerpt(str):
    """What is read of a longer text.

    characters, size: the length of the whole text in code points and in bytes of UTF-8.
    """

    characters: int
    size: int

    def __new__(cls, text: str, characters: int, size: int) -> "Excerpt":
        """Return `text`, which `excerpt` made of a text of that length."""
        made = super().__new__(cls, text)
        made.characters, made.size = characters, size
        return made


def question_group(text: str) -> str:
    """Return a hash that is the same for questions that differ only in case, white space or digits.

    The dataset's split folds more: there, numbers may also differ in how many digits they have.
    """
    folded = _DIGITS.sub("0", "".join(text.casefold().split()))
    return hashlib.sha256(folded.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def excerpt(text: str) -> str:
    """Return the part of a text that is read.

    An instruction stands before or after the long text that it is about, and seldom in the middle of it. What is read
    of an excerpt is all of it.
    """
    half = MAX_CHARS // 2
    return text if len(text) <= MAX_CHARS else f"{text[:half]}\n{text[-half:]}"


def count_grams(texts: Sequence[str]) -> tuple[Counts, Counts]:
    """Count hashed runs of 2 to 4 characters, and hashed words and symbols, in what is read of each text."""
    return count_all_grams([excerpt(text) for text in texts])


def count_all_grams(texts: Sequence[str]) -> tuple[Counts, Counts]:
    """Count the same as `count_grams` in whole texts, however long they are."""
    codes, owners = _joined([" " + _SPACE.sub(" ", text.casefold()).strip() + " " for text in texts])
    bits = max(12, len(codes).bit_length())
    powers, inverse = _powers(int(_BASE), bits), _powers(_INVERSE, bits)
    sums = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum((codes + np.uint64(1)) * powers[: len(codes)], out=sums[1:])
    runs, run_owners = [], []
    crossing = codes == _GAP
    for length in CHAR_LENGTHS:
        crossing = crossing[:-1] | crossing[1:]
        hashes = (sums[length:] - sums[:-length]) * inverse[: len(codes) - length + 1] + np.uint64(length)
        within = slice(0, -1) if len(texts) == 1 else ~crossing  # the only gap is the last code
        runs.append(hashes[within])
        run_owners.append(owners[: len(hashes)][within])
    starts, stops = _words(codes)
    words = (sums[stops] - sums[starts]) * inverse[starts]
    return (
        _counted(np.concatenate(run_owners), np.concatenate(runs), len(texts)),
        _counted(owners[starts], words, len(texts)),
    )


def _joined(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the code points of all texts, with a gap after each, and the number of the text of each."""
    gap = chr(_GAP - 1)  # a placeholder, replaced below by position: texts may contain it
    joined = np.frombuffer(gap.join([*texts, ""]).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    sizes = [len(text) + 1 for text in texts]
    ends = np.cumsum(sizes)
    codes = joined.astype(np.uint64)
    codes[ends - 1] = _GAP
    return codes, np.repeat(np.arange(len(texts)), sizes)


def _words(codes: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where words begin and end.

    A symbol outside words is a word of its own, a blank or gap is none.
    """
    inside = _WORD[codes]
    starts = inside.copy()
    starts[1:] &= ~inside[:-1]
    ends = inside.copy()
    ends[:-1] &= ~inside[1:]
    signs = ~inside & (codes != _GAP) & (codes != ord(" "))
    return np.flatnonzero(starts | signs), np.flatnonzero(ends | signs) + 1


def _counted(owners: NDArray[np.int64], hashes: NDArray[np.uint64], texts: int) -> Counts:
    mixed = (hashes ^ (hashes >> np.uint64(29))) * _BASE
    mixed >>= np.uint64(64 - BUCKET_BITS)
    if texts == 1:
        keys = mixed.astype(np.int32)  # half as wide, and sorted in half the time
    else:
        keys = mixed.astype(np.int64)
        keys |= owners << BUCKET_BITS
    keys.sort()
    fresh = np.ones(len(keys) + 1, dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=fresh[1:-1])
    bounds = np.flatnonzero(fresh)
    distinct = keys[bounds[:-1]]
    # half as wide, because training holds the counts of 4,000 texts
    return Counts(
        (distinct >> BUCKET_BITS).astype(np.int32),
        (distinct & (BUCKETS - 1)).astype(np.int32),
        np.diff(bounds).astype(np.int32),
        texts,
    )


def surface(text: str) -> list[float]:
    """Measure the form of a text apart from its words: one number for each of `SURFACE_NAMES`."""
    whole = text.characters if isinstance(text, Excerpt) else len(text)
    text = excerpt(text)
    first = _OPTION.search(text)
    options = _OPTION.findall(text) if first else []
    body = text[: first.start()] if first and first.start() else text
    split = text.split()
    size, count = max(len(text), 1), max(len(split), 1)
    lengths = [len(option) for option in options] or [0]
    mean = sum(lengths) / len(lengths)
    spread = (sum((length - mean) ** 2 for length in lengths) / len(lengths)) ** 0.5
    digits = [len(_DIGITS.findall(option)) for option in options]
    mostly = [
        found
        for found, option in zip(digits, options, strict=True)
        if found and found >= len(_LETTER.findall(option))
    ]
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    kinds = np.bincount(_KINDS[np.minimum(codes, 128)], minlength=len(_SIGNS) + 2)[1:]
    logs = np.log1p(
        [whole, len(body), len(split), size / count, len(options), mean, spread, text.count("\n")]
    ).tolist()
    end = body.rstrip()[-1:] or " "
    return [
        *logs[:7],
        sum(map(bool, digits)) / max(len(options), 1),
        len(mostly) / max(len(options), 1),
        *(kinds / size).tolist(),
        len(_DIGITS.findall(body)) / max(len(body), 1),
        logs[7],
        len(set(split)) / count,
        float("__" in text),
        float(end in "?？"),
        float(end in ":："),
        float(end in ".。"),
    ]
