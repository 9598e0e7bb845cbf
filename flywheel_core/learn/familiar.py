"""Determines the least share of known n-grams at which a text counts as like the training texts."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flywheel_core.learn.features import TextFeatures, sample_of
from flywheel_core.learn.text import BUCKETS, Counts, count_grams
from flywheel_core.learn.tfidf import CHUNK, SEEN_TWICE_FROM, known_shares

FAMILIAR = 0.75
"""Threshold for the share of known n-grams, as a fraction of the training texts' 1st percentile."""
PARTS = 10
"""Number of parts of the texts; each part is read as by a router that learned from the other nine."""
_LEAST = 1e-6
"""Lowest threshold: a text without any known n-gram is unfamiliar to every router."""


def least_known(
    features: TextFeatures,
    texts: Sequence[str],
    groups: Sequence[str] | NDArray[np.str_],
    *,
    rows: int,
    seed: int,
) -> float:
    """Return the share (0..1) of known n-grams below which a text is unfamiliar.

    groups: the `question_group` of each text; the other arguments are those that `features` were learned
    from. A training text knows all its own n-grams, which a new question does not: in short Chinese texts,
    half of them occur in no other text. So only n-grams that texts of other parts have count as known; a
    group is in one part.
    """
    sample = sample_of(len(texts), rows, seed)
    drawn = [texts[at] for at in sample]
    parts = np.array([int(groups[at][:12], 16) % PARTS for at in sample])
    read: list[tuple[Counts, np.ndarray]] = []
    found = np.zeros((PARTS, BUCKETS), dtype=np.int64)
    for start in range(0, len(drawn), CHUNK):
        counts = count_grams(drawn[start : start + CHUNK])[0]
        part = parts[start : start + CHUNK][counts.owners]
        found += np.bincount(part * BUCKETS + counts.buckets, minlength=found.size).reshape(found.shape)
        read.append((counts, part))
    elsewhere = found.sum(axis=0) - found
    least = 2 if len(drawn) > SEEN_TWICE_FROM else 1
    shares = [
        known_shares(
            counts, (features.index[0, counts.buckets] >= 0) & (elsewhere[part, counts.buckets] >= least)
        )
        for counts, part in read
    ]
    return max(_LEAST, round(FAMILIAR * float(np.quantile(np.concatenate(shares), 0.01)), 6))
