"""Text -> numbers: weighted n-grams in a few latent dimensions, beside measures of the text's form.

Character n-grams and words are weighted by how rare they are and projected on the main directions of the training
texts (latent semantic analysis), which for one text is one small matrix product.

Where the answers that the training questions got are known, further directions are learned from them: an answer says in
more words what a question is about. What question and answers together are about is predicted from the question's own
directions, so that a decision needs the question alone.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from flywheel_core.errors import NoDataError, RouterError
from flywheel_core.learn.linear import MultiRidge
from flywheel_core.learn.text import (
    BUCKETS,
    SURFACE_NAMES,
    Counts,
    count_all_grams,
    count_grams,
    excerpt,
    surface,
)

Floats = NDArray[np.float32]
ARRAYS = ("index", "rarity", "directions", "centre", "spread")
_CHUNK = 256
_MOST_COLUMNS = (60_000, 20_000)
"""How many buckets of character n-grams and of words are kept at most."""
_SURFACE_LIMIT = 4.0
_ROUNDS = 4
"""Rounds in which the main directions are found. With one they hold 92 % of what the best ones do, and miss rare words."""
SEEN_TWICE_FROM = 50
"""Texts from which on an n-gram must occur in two of them to count."""
TAUGHT = 60
"""Directions that are learned from answers, if there are any; they come first."""
FEWEST_ANSWERED = 500
"""Texts that must have answers for these to teach directions."""


class TextFeatures:
    """Learned weights and directions; `transform` is deterministic and safe for several threads.

    index: bucket -> column or -1, shape (2, BUCKETS); rarity: weight of a column, shape (columns,); directions: shape
    (columns, dimensions); centre, spread: of the measures of form. Raises RouterError when they do not fit together.
    """

    def __init__(
        self, index: NDArray[np.int32], rarity: Floats, directions: Floats, centre: Floats, spread: Floats
    ) -> None:
        if (
            index.shape != (len(_MOST_COLUMNS), BUCKETS)
            or directions.ndim != 2
            or rarity.shape != directions.shape[:1]
            or centre.shape != (len(SURFACE_NAMES),)
            or spread.shape != centre.shape
            or int(index.max()) >= len(rarity)
        ):
            raise RouterError("the arrays of the text features do not fit together")
        self.index, self.rarity, self.directions = index, rarity, directions
        self.centre, self.spread = centre, spread

    @property
    def dimensions(self) -> int:
        """Latent dimensions; `transform` gives these and then one column for each measure of form."""
        return int(self.directions.shape[1])

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        *,
        dimensions: int,
        rows: int,
        seed: int,
        answers: Sequence[str | None] | None = None,
    ) -> Self:
        """Learn from at most `rows` of the texts, drawn by `seed`, and from the text of their answers, None where unknown.

        Raises NoDataError without any text.
        """
        if not texts:
            raise NoDataError("there is no text to learn features from")
        sample = [texts[at] for at in sample_of(len(texts), rows, seed)]
        index, rarity, weighted = _learned(sample, count_grams)
        rank = max(1, min(dimensions, min(weighted.shape) // 2))
        directions = _main_directions(weighted, rank, seed)
        if answers is not None:
            directions = _with_taught(directions, texts, answers, index, rarity, rows, seed)
        measures = np.array([surface(text) for text in sample])
        spread = measures.std(axis=0)
        return cls(
            index,
            rarity,
            directions,
            measures.mean(axis=0).astype(np.float32),
            np.where(spread > 1e-6, spread, 1.0).astype(np.float32),
        )

    def transform(self, texts: Sequence[str], *, jobs: int = 1) -> tuple[Floats, Floats]:
        """Features, shape (texts, dimensions + measures), and the known share (0..1) of each text's n-grams.

        The result does not depend on `jobs`, the number of threads.
        """
        if len(texts) == 1:
            return self._one(texts[0])
        size = self.dimensions + len(SURFACE_NAMES)
        features, known = np.empty((len(texts), size), np.float32), np.empty(len(texts), np.float32)

        def fill(start: int) -> None:
            part = texts[start : start + _CHUNK]
            stop = start + len(part)
            pair = count_grams(part)
            features[start:stop, : self.dimensions] = _matrix(pair, self.index, self.rarity) @ self.directions
            features[start:stop, self.dimensions :] = self._form(part)
            known[start:stop] = _known(pair[0], self.index[0])

        with ThreadPoolExecutor(jobs) as threads:
            list(threads.map(fill, range(0, len(texts), _CHUNK)))
        return features, known

    def _one(self, text: str) -> tuple[Floats, Floats]:
        """As `transform`, without a matrix."""
        features = np.zeros((1, self.dimensions + len(SURFACE_NAMES)), np.float32)
        shares = []
        for counts, table in zip(count_grams([text]), self.index, strict=True):
            columns = table.take(counts.buckets)
            seen = columns >= 0
            columns = columns[seen]
            values = (1.0 + np.log(counts.counts[seen])) * self.rarity.take(columns)
            values /= max(float(np.sqrt(values @ values)), 1e-9)
            features[0, : self.dimensions] += values.astype(np.float32) @ self.directions.take(
                columns, axis=0
            )
            shares.append(len(columns) / max(len(seen), 1))
        features[:, self.dimensions :] = self._form([text])
        return features, np.array(shares[:1], np.float32)

    def _form(self, texts: Sequence[str]) -> Floats:
        measures = (np.array([surface(text) for text in texts], np.float32) - self.centre) / self.spread
        limited: Floats = np.minimum(np.maximum(measures, -_SURFACE_LIMIT), _SURFACE_LIMIT)
        return limited

    def compact(self, kept: int, directions: NDArray[np.floating]) -> Self:
        """The same features with the first `kept` latent dimensions and further ones, sums of all of them.

        directions: (dimensions, further), what each further one is made of.
        """
        own = np.hstack([self.directions[:, :kept], self.directions @ directions.astype(np.float32)])
        return type(self)(self.index, self.rarity, np.ascontiguousarray(own), self.centre, self.spread)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that was learned, by the names in `ARRAYS`."""
        return {name: getattr(self, name) for name in ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The opposite of `arrays`. Raises RouterError when they do not fit together."""
        return cls(*(arrays[name] for name in ARRAYS))


def sample_of(count: int, rows: int, seed: int) -> NDArray[np.intp]:
    """Which of `count` texts features are learned from, in order: at most `rows`, drawn by `seed`."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:rows])


def _weighted(
    pair: tuple[Counts, Counts], index: NDArray[np.int32], rarity: Floats
) -> tuple[NDArray[np.int32], Floats, NDArray[np.int64]]:
    """Columns, values and owners of all known n-grams; the values of each block of a text have length 1."""
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
    return np.concatenate(columns), np.concatenate(values), np.concatenate(owners)


def _matrix(pair: tuple[Counts, Counts], index: NDArray[np.int32], rarity: Floats) -> sparse.csr_matrix:
    columns, values, owners = _weighted(pair, index, rarity)
    return sparse.csr_matrix((values, (owners, columns)), shape=(pair[0].texts, len(rarity)))


def _known(counts: Counts, table: NDArray[np.int32]) -> NDArray[np.float64]:
    seen = np.bincount(counts.owners, table[counts.buckets] >= 0, minlength=counts.texts)
    return seen / np.maximum(np.bincount(counts.owners, minlength=counts.texts), 1)


def _main_directions(weighted: sparse.csr_matrix, rank: int, seed: int) -> Floats:
    _, _, rows = randomized_svd(
        weighted, rank, n_oversamples=16, n_iter=_ROUNDS, random_state=seed, flip_sign=True
    )
    return np.ascontiguousarray(rows.T, dtype=np.float32)


def _learned(
    texts: Sequence[str], count: Callable[[Sequence[str]], tuple[Counts, Counts]]
) -> tuple[NDArray[np.int32], Floats, sparse.csr_matrix]:
    """Which n-grams count, how rare each is, and the texts' own weighted ones."""
    pairs = [count(texts[start : start + _CHUNK]) for start in range(0, len(texts), _CHUNK)]
    index = np.full((len(_MOST_COLUMNS), BUCKETS), -1, dtype=np.int32)
    rarities: list[Floats] = []
    columns = 0
    for block, most in enumerate(_MOST_COLUMNS):
        found = np.sum([np.bincount(pair[block].buckets, minlength=BUCKETS) for pair in pairs], axis=0)
        often = int((found >= (2 if len(texts) > SEEN_TWICE_FROM else 1)).sum())
        kept = np.sort(np.argsort(-found, kind="stable")[: min(most, often)])
        index[block, kept] = np.arange(columns, columns + len(kept))
        rarities.append((np.log((1 + len(texts)) / (1 + found[kept])) + 1).astype(np.float32))
        columns += len(kept)
    rarity = np.concatenate(rarities)
    return index, rarity, sparse.vstack([_matrix(pair, index, rarity) for pair in pairs], format="csr")


def _with_taught(
    directions: Floats,
    texts: Sequence[str],
    answers: Sequence[str | None],
    index: NDArray[np.int32],
    rarity: Floats,
    rows: int,
    seed: int,
) -> Floats:
    """These directions, and before them those that answers to at most `rows` texts taught; unchanged with few answers."""
    heard = [row for row, answer in enumerate(answers) if answer]
    if len(heard) < FEWEST_ANSWERED:
        return directions
    drawn = np.sort(np.random.default_rng(seed).permutation(heard)[:rows])
    _, _, both = _learned([f"{excerpt(texts[row])}\n{answers[row]}" for row in drawn], count_all_grams)
    subjects = both @ _main_directions(both, min(TAUGHT, directions.shape[1]), seed)
    subjects /= np.maximum(np.linalg.norm(subjects, axis=1, keepdims=True), 1e-9)
    alone = np.concatenate(
        [
            _matrix(count_grams([texts[row] for row in drawn[start : start + _CHUNK]]), index, rarity)
            @ directions
            for start in range(0, len(drawn), _CHUNK)
        ]
    )
    taught = MultiRidge().fit(alone, subjects).coef_.astype(np.float32)
    return np.hstack([directions @ taught, directions])
