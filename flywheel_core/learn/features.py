"""Turns texts into numbers: weighted n-grams in a few latent dimensions, and measures of the text's form.

Character n-grams and words are weighted by how rare they are and projected onto the main directions of the
training texts (latent semantic analysis). For one text this is one small matrix product. The result is scaled to
length 1: of texts in a language with many rare n-grams, such as Chinese, the main directions hold less, and beside
texts of another language a ridge regression would hardly learn from them.

Where the answers to the training questions are known, further directions are learned from them, because an
answer says in more words what a question is about. The topics of question and answers together are predicted
from the question's own directions, so that a decision needs the question alone.
"""

from collections.abc import Mapping, Sequence
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
    count_all_grams,
    count_grams,
    excerpt,
    surface,
)
from flywheel_core.learn.tfidf import CHUNK, MOST_COLUMNS, Floats, known_shares, learn_grams, weighted_matrix

ARRAYS = ("index", "rarity", "directions", "lengths", "centre", "spread")
_SURFACE_LIMIT = 4.0
_ROUNDS = 4
"""Power iterations that find the main directions.

After one iteration, they hold 92 % of what the best possible ones do, and miss rare words.
"""
TAUGHT = 60
"""Most directions that are learned from answers. They come before the others."""
FEWEST_ANSWERED = 500
"""Fewest texts with answers from which directions are learned."""
LENGTHS = 24
"""Random projections from which the length of a text's latent vector is estimated, within a seventh or so.

A decision computes few of the latent dimensions, but all of them make the length.
"""
SHORTEST = 0.05
"""Length below which a latent vector is divided by this one: what the directions hold of so strange a text is noise."""


class TextFeatures:
    """Learned weights and directions. `transform` is deterministic and thread-safe.

    index: bucket -> column, -1 for none, shape (2, BUCKETS), for character n-grams and for words
    rarity: weight of each column, shape (columns,)
    directions: shape (columns, dimensions)
    lengths: shape (columns, `LENGTHS`); the latent vector is divided by the length of the projection onto these, unless
        there are none, as in routers of format 2
    centre, spread: mean and standard deviation of each measure of form, shape (measures,)

    Raises RouterError when the shapes do not fit together.
    """

    def __init__(
        self,
        index: NDArray[np.int32],
        rarity: Floats,
        directions: Floats,
        lengths: Floats,
        centre: Floats,
        spread: Floats,
    ) -> None:
        if (
            index.shape != (len(MOST_COLUMNS), BUCKETS)
            or directions.ndim != 2
            or lengths.ndim != 2
            or not rarity.shape == directions.shape[:1] == lengths.shape[:1]
            or centre.shape != (len(SURFACE_NAMES),)
            or spread.shape != centre.shape
            or int(index.max()) >= len(rarity)
        ):
            raise RouterError("the arrays of the text features do not fit together")
        self.index, self.rarity = index, rarity
        self._projections = np.hstack([directions, lengths])
        self.directions = self._projections[:, : directions.shape[1]]
        self.lengths = self._projections[:, directions.shape[1] :]
        self.centre, self.spread = centre, spread

    @property
    def dimensions(self) -> int:
        """Number of latent dimensions.

        `transform` gives these, followed by one column per measure of form.
        """
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
        """Learn from at most `rows` of the texts, drawn by `seed`, and from the answers to them, if given.

        answers: one per text, None where unknown. Raises NoDataError without any text.
        """
        if not texts:
            raise NoDataError("there is no text to learn features from")
        sample = [texts[at] for at in sample_of(len(texts), rows, seed)]
        index, rarity, weighted = learn_grams(sample, count_grams)
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
            _length_projections(directions, seed),
            measures.mean(axis=0).astype(np.float32),
            np.where(spread > 1e-6, spread, 1.0).astype(np.float32),
        )

    def transform(self, texts: Sequence[str], *, jobs: int = 1) -> tuple[Floats, Floats]:
        """Return features, (texts, dimensions + measures), and each text's share of known n-grams, (texts,).

        The share, 0..1, is that of the text's distinct character n-grams. The result does not depend on
        `jobs`, the number of threads.
        """
        if len(texts) == 1:
            return self._one(texts[0])
        size = self.dimensions + len(SURFACE_NAMES)
        features, known = np.empty((len(texts), size), np.float32), np.empty(len(texts), np.float32)

        def fill(start: int) -> None:
            part = texts[start : start + CHUNK]
            stop = start + len(part)
            pair = count_grams(part)
            features[start:stop, : self.dimensions] = self._scaled(
                weighted_matrix(pair, self.index, self.rarity) @ self._projections
            )
            features[start:stop, self.dimensions :] = self._form(part)
            known[start:stop] = known_shares(pair[0], self.index[0][pair[0].buckets] >= 0)

        with ThreadPoolExecutor(jobs) as threads:
            list(threads.map(fill, range(0, len(texts), CHUNK)))
        return features, known

    def _one(self, text: str) -> tuple[Floats, Floats]:
        """Do what `transform` does, for one text and without a sparse matrix."""
        projected = np.zeros((1, self._projections.shape[1]), np.float32)
        shares = []
        for counts, table in zip(count_grams([text]), self.index, strict=True):
            columns = table.take(counts.buckets)
            seen = columns >= 0
            columns = columns[seen]
            values = (1.0 + np.log(counts.counts[seen])) * self.rarity.take(columns)
            values /= max(float(np.sqrt(values @ values)), 1e-9)
            projected[0] += values.astype(np.float32) @ self._projections.take(columns, axis=0)
            shares.append(len(columns) / max(len(seen), 1))
        features = np.hstack([self._scaled(projected), self._form([text])])
        return features, np.array(shares[:1], np.float32)

    def _scaled(self, projected: Floats) -> Floats:
        """Return the latent vectors in `projected`, (texts, dimensions), each divided by its length."""
        latent = projected[:, : self.dimensions]
        if not self.lengths.shape[1]:
            return latent
        length = np.linalg.norm(projected[:, self.dimensions :], axis=1, keepdims=True)
        scaled: Floats = latent / np.maximum(length, SHORTEST)
        return scaled

    def _form(self, texts: Sequence[str]) -> Floats:
        measures = (np.array([surface(text) for text in texts], np.float32) - self.centre) / self.spread
        limited: Floats = np.minimum(np.maximum(measures, -_SURFACE_LIMIT), _SURFACE_LIMIT)
        return limited

    def compact(self, kept: int, directions: NDArray[np.floating]) -> Self:
        """Return the same features with the first `kept` latent dimensions and linear combinations of all.

        directions: (dimensions, combinations), the weights of each combination.
        """
        own = np.hstack([self.directions[:, :kept], self.directions @ directions.astype(np.float32)])
        return type(self)(self.index, self.rarity, own, self.lengths, self.centre, self.spread)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything learned, by the names in `ARRAYS`."""
        return {name: getattr(self, name) for name in ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild the features from `arrays`.

        Raises RouterError when they do not fit together, KeyError for a missing one.
        """
        none = np.zeros((len(arrays["rarity"]), 0), np.float32)
        return cls(*(arrays.get(name, none) if name == "lengths" else arrays[name] for name in ARRAYS))


def sample_of(count: int, rows: int, seed: int) -> NDArray[np.intp]:
    """Return which of `count` texts features are learned from, in order: at most `rows`, drawn by `seed`."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:rows])


def _main_directions(weighted: sparse.csr_matrix, rank: int, seed: int) -> Floats:
    _, _, rows = randomized_svd(
        weighted, rank, n_oversamples=16, n_iter=_ROUNDS, random_state=seed, flip_sign=True
    )
    return np.ascontiguousarray(rows.T, dtype=np.float32)


def _length_projections(directions: Floats, seed: int) -> Floats:
    signs = np.random.default_rng(seed).choice(
        np.array([-1.0, 1.0], np.float32), (directions.shape[1], LENGTHS)
    )
    found: Floats = directions @ signs / np.float32(np.sqrt(LENGTHS))
    return found


def _with_taught(
    directions: Floats,
    texts: Sequence[str],
    answers: Sequence[str | None],
    index: NDArray[np.int32],
    rarity: Floats,
    rows: int,
    seed: int,
) -> Floats:
    """Return `directions`, preceded by those learned from the answers to at most `rows` texts.

    With answers to fewer than `FEWEST_ANSWERED` texts, `directions` are returned unchanged.
    """
    heard = [row for row, answer in enumerate(answers) if answer]
    if len(heard) < FEWEST_ANSWERED:
        return directions
    drawn = np.sort(np.random.default_rng(seed).permutation(heard)[:rows])
    _, _, both = learn_grams([f"{excerpt(texts[row])}\n{answers[row]}" for row in drawn], count_all_grams)
    subjects = both @ _main_directions(both, min(TAUGHT, directions.shape[1]), seed)
    subjects /= np.maximum(np.linalg.norm(subjects, axis=1, keepdims=True), 1e-9)
    alone = np.concatenate(
        [
            weighted_matrix(count_grams([texts[row] for row in drawn[start : start + CHUNK]]), index, rarity)
            @ directions
            for start in range(0, len(drawn), CHUNK)
        ]
    )
    taught = MultiRidge().fit(alone, subjects).coef_.astype(np.float32)
    return np.hstack([directions @ taught, directions])
