"""A text is unfamiliar when it is unlike the training texts, not when it is new."""

import numpy as np
import pytest

from flywheel_core.learn.familiar import least_known
from flywheel_core.learn.features import TextFeatures
from flywheel_core.learn.text import question_group

WORDS = {"chinese": (0x4E00, 0x9000, 2, 4), "english": (ord("a"), ord("z"), 3, 8)}


def _texts(kind: str, count: int, seed: int) -> list[str]:
    """Return texts made of the same 300 words, whatever the seed; Chinese ones have no spaces."""
    first, last, shortest, longest = WORDS[kind]
    spoken, drawn = np.random.default_rng(5), np.random.default_rng(seed)
    words = [
        "".join(map(chr, spoken.integers(first, last, spoken.integers(shortest, longest))))
        for _ in range(300)
    ]
    blank = "" if kind == "chinese" else " "
    return [blank.join(drawn.choice(words, drawn.integers(4, 12))) for _ in range(count)]


def _shares_unfamiliar(texts: list[str], *others: list[str]) -> list[float]:
    features = TextFeatures.fit(texts, dimensions=16, rows=4_000, seed=0)
    least = least_known(features, texts, [question_group(text) for text in texts], rows=4_000, seed=0)
    return [float((features.transform(other)[1] < least).mean()) for other in others]


@pytest.mark.parametrize("kind", ["chinese", "english"])
@pytest.mark.parametrize("count", [40, 400, 1_500])
def test_new_questions_of_the_same_kind_are_familiar(kind: str, count: int) -> None:
    other = "english" if kind == "chinese" else "chinese"
    same, unlike = _shares_unfamiliar(_texts(kind, count, 1), _texts(kind, 400, 2), _texts(other, 400, 2))
    assert same < 0.05
    assert unlike > 0.9


def test_repeated_questions_do_not_make_new_ones_unfamiliar() -> None:
    texts = _texts("chinese", 200, 1)
    (unfamiliar,) = _shares_unfamiliar(texts * 5, _texts("chinese", 400, 2))
    assert unfamiliar < 0.05


def test_a_text_without_any_known_part_is_always_unfamiliar() -> None:
    alike = [f"{number} + {number}" for number in range(60)]
    (unfamiliar,) = _shares_unfamiliar(alike, ["zyx wvu"])
    assert unfamiliar == 1.0
