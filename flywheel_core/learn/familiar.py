"""Determines the least share of known n-grams at which a text counts as like the training texts."""

from collections.abc import Sequence

import numpy as np

from flywheel_core.learn.features import TextFeatures, sample_of
from flywheel_core.learn.text import BUCKETS, Counts, count_grams, question_group
from flywheel_core.learn.tfidf import SEEN_TWICE_FROM

FAMILIAR = 0.75
"""Threshold for the share of known n-grams, as a fraction of the training texts' 1st percentile."""
PARTS = 10
"""Number of parts of the texts; each part is read as by a router that learned from the other nine."""
_LEAST = 1e-6
"""Lowest threshold: a text without any known n-gram is unfamiliar to every router."""
_CHUNK = 256


def least_known(features: TextFeatures, texts: Sequence[str], *, rows: int, seed: int) -> float:
    """Return the share (0..1) of known n-grams below which a text is unfamiliar.

    The arguments are those that `features` were learned from. A training text knows all its own n-grams,
    which a new question does not: in short Chinese texts, half of them occur in no other text. So only
    n-grams that texts of other parts have count as known; similar questions are in the same part.
    """
    drawn = [texts[at] for at in sample_of(len(texts), rows, seed)]
    parts = np.array([int(question_group(text)[:12], 16) % PARTS for text in drawn])
    read: list[tuple[Counts, np.ndarray]] = []
    found = np.zeros((PARTS, BUCKETS), dtype=np.int64)
    for start in range(0, len(drawn), _CHUNK):
        counts = count_grams(drawn[start : start + _CHUNK])[0]
        part = parts[start : start + _CHUNK][counts.owners]
        found += np.bincount(part * BUCKETS + counts.buckets, minlength=found.size).reshape(found.shape)
        read.append((counts, part))
    elsewhere = found.sum(axis=0) - found
    least = 2 if len(drawn) > SEEN_TWICE_FROM else 1
    shares = [
        np.bincount(
            counts.owners,
            (features.index[0, counts.buckets] >= 0) & (elsewhere[part, counts.buckets] >= least),
            minlength=counts.texts,
        )
        / np.maximum(np.bincount(counts.owners, minlength=counts.texts), 1)
        for counts, part in read
    ]
    return max(_LEAST, round(FAMILIAR * float(np.quantile(np.concatenate(shares), 0.01)), 6))
