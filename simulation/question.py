"""What the simulation knows about a question: its text, its difficulty, and what makes a good answer."""

import re
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from simulation.seeded import lookup_key, total

Language = Literal["zh", "en"]
Kind = Literal["numbers", "text", "points"]

_AFTER_CHINESE = re.compile("(?<=[\u3400-\u9fff\u201d\u300b])[,?:;!]")
_WIDE = {",": "\uff0c", "?": "\uff1f", ":": "\uff1a", ";": "\uff1b", "!": "\uff01"}

DOMAINS = ("general", "math", "code", "medicine", "writing")


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that a good answer to an open question says.

    keywords: an answer makes the point if it contains any of them, ignoring case; sentence: how the simulated
    models say it, with one of the keywords.
    """

    keywords: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    difficulty: from about -2 (easy) to 2 (hard); kind: how an answer is checked. `numbers` compares the set
    of numbers in its last part with `accepted`, `text` looks there for one of `accepted`, `points` counts the
    `points` made anywhere. wrong: final answers that a mistaken model may give; work: sentences that lead to
    the right one; core: the text without opening and closing phrases, the same for near-duplicates; blend:
    weights of further domains that the question also belongs to.
    """

    text: str
    domain: str
    language: Language
    difficulty: float
    kind: Kind
    accepted: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    work: tuple[str, ...] = ()
    core: str = ""
    blend: tuple[tuple[str, float], ...] = ()
    tags: frozenset[str] = field(default_factory=frozenset)

    @property
    def key(self) -> str:
        """The normalised text by which the question is recognised."""
        return lookup_key(self.text)

    def weights(self) -> dict[str, float]:
        """Return the share of each domain in the question; they sum to 1."""
        rest = 1.0 - total(weight for _, weight in self.blend)
        return {self.domain: rest, **dict(self.blend)}


def numbers(*values: float | int) -> tuple[str, ...]:
    """Format `values` as accepted answers: integers without a point, others with up to four decimals."""
    return tuple(
        f"{value:.4f}".rstrip("0").rstrip(".") if value != int(value) else str(int(value)) for value in values
    )


def off_by(rng: Random, value: float | int) -> tuple[str, ...]:
    """Return three wrong numbers that someone might plausibly give instead of `value`."""
    step = max(1, round(abs(value) * 0.1))
    near = [value + step, value - step, value * 2 if value else 3, -value if value else 5, value + 10]
    chosen = [candidate for candidate in rng.sample(near, len(near)) if candidate != value]
    return numbers(*chosen[:3])


def wide_marks(text: str) -> str:
    """Return `text` with full-width punctuation after Chinese characters, as they are usually typed."""
    return _AFTER_CHINESE.sub(lambda match: _WIDE[match.group()], text)
