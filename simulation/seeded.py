"""Chance that repeats itself: numbers that depend on a seed and a text and on nothing else."""

import hashlib
import math
import random
import re
import statistics

_NORMAL = statistics.NormalDist()
_SPACE = re.compile(r"\s+")
_DIGITS = re.compile(r"\d+")


def uniform(*parts: object) -> float:
    """A number in (0, 1) that is a hash of `parts`: the same parts give the same number on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 11) + 0.5) / 2**53


def normal(*parts: object) -> float:
    """A standard normal number that is a hash of `parts`."""
    return _NORMAL.inv_cdf(uniform(*parts))


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), for the modest x of this package."""
    return 1.0 / (1.0 + math.exp(-x))


def generator(*parts: object) -> random.Random:
    """A random generator whose whole sequence is decided by `parts`."""
    name = "\x1f".join(str(part) for part in parts)
    return random.Random(name)  # noqa: S311 - the sequence has to repeat itself; nothing secret comes from it


def lookup_key(text: str) -> str:
    """`text` as questions are recognised by: case folded, white space collapsed, ends trimmed."""
    return _SPACE.sub(" ", text).strip().casefold()


def fold(text: str) -> str:
    """`text` without case, white space and the value of numbers: equal for a question and its template siblings."""
    return _DIGITS.sub("0", _SPACE.sub("", text).casefold())
