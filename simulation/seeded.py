"""Repeatable randomness: numbers that depend on a seed and a text and on nothing else."""

import hashlib
import math
import random
import re
import statistics
from collections.abc import Iterable

_NORMAL = statistics.NormalDist()
_SPACE = re.compile(r"\s+")
_DIGITS = re.compile(r"\d+")


def uniform(*parts: object) -> float:
    """Return a number in (0, 1) that is a hash of `parts`, the same on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 11) + 0.5) / 2**53


def normal(*parts: object) -> float:
    """Return a standard normal number that is a hash of `parts`."""
    return _NORMAL.inv_cdf(uniform(*parts))


def sigmoid(x: float) -> float:
    """Return 1 / (1 + exp(-x)); x must not be so negative that exp overflows."""
    return 1.0 / (1.0 + math.exp(-x))


def total(values: Iterable[float]) -> float:
    """Return the sum of `values`, added one after another.

    `sum` rounds less from Python 3.12 on, which would give another sample there.
    """
    added = 0.0
    for value in values:
        added += value
    return added


def generator(*parts: object) -> random.Random:
    """Return a random generator whose whole sequence is determined by `parts`."""
    name = "\x1f".join(str(part) for part in parts)
    return random.Random(name)  # noqa: S311 - must be repeatable; nothing secret depends on it


def lookup_key(text: str) -> str:
    """Normalise `text` for recognising a question: fold case, collapse white space, trim the ends."""
    return _SPACE.sub(" ", text).strip().casefold()


def fold(text: str) -> str:
    """Return `text` without case, white space and number values: equal for variants of a template."""
    return _DIGITS.sub("0", _SPACE.sub("", text).casefold())
