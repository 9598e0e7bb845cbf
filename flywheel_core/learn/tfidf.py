"""TF-IDF: which n-grams count, how rare each is, and the weighted n-grams of texts."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from flywheel_core.learn.text import BUCKETS, Counts

Floats = NDArray[np.float32]

CHUNK = 256
"""Texts whose n-grams are counted at once."""
MOST_COLUMNS = (60_000, 20_000)
"""Most buckets kept of character n-grams, and of words."""

SEEN_TWICE_FROM = 50
"""With more texts than this, an n-gram must occur in two of them to count."""


def weighted_matrix(
    pair: tuple[Counts, Counts], index: NDArray[np.int32], rarity: Floats
) -> sparse.csr_matrix:
    """Return the weighted n-grams of texts, (texts, columns).

    In each text, the values of its character n-grams have length 1, and so have those of its words.
    """
    columns, values, owners = [], [], []
    for counts, table in zip(pair, index, strict=True):
        column = table[counts.buckets]
        seen = column >= 0
        column, owner = column[seen], counts.owners[seen]
        value = (1.0 + np.log(counts.counts[seen])) * rarity[column]
        length = np.sqrt(np.bincount(owner, value * value, minlength=counts.texts))
        columns.append(column)
        values.append((value / length[owner]).astype(np.float32))
        owners.append(owner)
    places = np.concatenate(owners), np.concatenate(columns)
    return sparse.csr_matrix((np.concatenate(values), places), shape=(pair[0].texts, len(rarity)))


def known_shares(counts: Counts, known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share, 0..1, of each text's distinct n-grams that are known. known: one entry per count."""
    seen = np.bincount(counts.owners, known, minlength=counts.texts)
    return seen / np.maximum(np.bincount(counts.owners, minlength=counts.texts), 1)


def learn_grams(
    texts: Sequence[str], count: Callable[[Sequence[str]], tuple[Counts, Counts]]
) -> tuple[NDArray[np.int32], Floats, sparse.csr_matrix]:
    """Return the columns of the n-grams that count, how rare each is, and the texts' weighted n-grams."""
    pairs = [count(texts[start : start + CHUNK]) for start in range(0, len(texts), CHUNK)]
    index = np.full((len(MOST_COLUMNS), BUCKETS), -1, dtype=np.int32)
    rarities: list[Floats] = []
    columns = 0
    for block, most in enumerate(MOST_COLUMNS):
        found = np.sum([np.bincount(pair[block].buckets, minlength=BUCKETS) for pair in pairs], axis=0)
        often = int((found >= (2 if len(texts) > SEEN_TWICE_FROM else 1)).sum())
        kept = np.sort(np.argsort(-found, kind="stable")[: min(most, often)])
        index[block, kept] = np.arange(columns, columns + len(kept))
        rarities.append((np.log((1 + len(texts)) / (1 + found[kept])) + 1).astype(np.float32))
        columns += len(kept)
    rarity = np.concatenate(rarities)
    return (
        index,
        rarity,
        sparse.vstack([weighted_matrix(pair, index, rarity) for pair in pairs], format="csr"),
    )
