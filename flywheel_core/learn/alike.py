"""Finds questions that are alike, such as one order about a hundred names.

What scores on such questions is not independent: what one of them shows, the others show again. Two questions are
alike when at least half of their runs of four characters are the same. This is estimated from the lowest hashes of
the runs ("minhash", A. Broder, "On the resemblance and containment of documents", 1997), so the cost grows with the
number of questions and not with that of pairs. Case, white space and digits are folded.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ALIKE = 0.5
"""Least share of common runs, among those that either of two questions has, at which they are alike."""
FEWEST_BUNCHES = 25
"""Bunches of more than one in this many questions are split.

Where all of the traffic has one template, being alike says little.
"""
RUN = 4
HASHES = 32
BAND = 2
"""Questions are compared that have this many neighbouring lowest hashes in common."""

_DIGITS = re.compile(r"\d")
_CHUNK = 256
_FACTORS = np.random.default_rng(0).integers(1, 2**32, HASHES, dtype=np.uint32) | np.uint32(1)


def alike(texts: Sequence[str]) -> NDArray[np.intp]:
    """Return the number of each text's bunch, (n,): the least row among the texts that it belongs together with.

    A text joins the first text with which it shares a band of hashes, if the two are alike. Texts that joined one
    text need not all be alike, and a bunch may have any size, see `parts`. Deterministic.
    """
    lowest = _lowest_hashes(texts)
    rows = np.arange(len(texts))
    joined, firsts = [rows], [rows]
    for start in range(0, HASHES, BAND):
        band = lowest[:, start].astype(np.uint64) << np.uint64(32) | lowest[:, start + 1]
        _, first, same = np.unique(band, return_index=True, return_inverse=True)
        others = np.flatnonzero(first[same] != rows)
        shares = (lowest[others] == lowest[first[same][others]]).mean(axis=1)
        joined.append(others[shares >= ALIKE])
        firsts.append(first[same][joined[-1]])
    edges = (np.concatenate(joined), np.concatenate(firsts))
    # imported only here: Dagster's daemon loads this module every minute, and hardly ever needs it
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(edges[0]), dtype=bool), edges), shape=(len(texts), len(texts)))
    _, bunches = connected_components(graph, directed=False)
    _, least, owner = np.unique(bunches, return_index=True, return_inverse=True)
    return least[owner]


def parts(bunches: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the part of its bunch that each question is in, (n,): 0, 1 ... in their order.

    Bunches of more than one in `FEWEST_BUNCHES` of all questions have several parts, none larger than that.
    """
    most = max(1, len(bunches) // FEWEST_BUNCHES)
    order = np.argsort(bunches, kind="stable")
    ordered = bunches[order]
    starts = np.searchsorted(ordered, ordered)
    result = np.empty(len(bunches), dtype=np.intp)
    result[order] = (np.arange(len(bunches)) - starts) // most
    return result


def _lowest_hashes(texts: Sequence[str]) -> NDArray[np.uint32]:
    """Return the lowest hash of each text's runs of characters by `HASHES` hash functions, (n, `HASHES`)."""
    gap = " " * (RUN - 1)  # runs that go beyond a text's end hold only blanks of the next one
    result = np.empty((len(texts), HASHES), dtype=np.uint32)
    for start in range(0, len(texts), _CHUNK):
        read = [
            gap + _DIGITS.sub("0", " ".join(text.casefold().split()))
            for text in texts[start : start + _CHUNK]
        ]
        codes = np.frombuffer("".join([*read, gap]).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        runs = np.zeros(len(codes) - RUN + 1, dtype=np.uint32)
        for offset in range(RUN):
            runs *= np.uint32(0x01000193)
            runs += codes[offset : len(runs) + offset]
        for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39)):
            runs ^= runs >> np.uint32(shift)
            runs *= np.uint32(factor)
        runs ^= runs >> np.uint32(15)
        begins = np.cumsum([0, *(len(text) for text in read[:-1])])
        for number, factor in enumerate(_FACTORS):
            result[start : start + _CHUNK, number] = np.minimum.reduceat(runs * factor, begins)
    return result
