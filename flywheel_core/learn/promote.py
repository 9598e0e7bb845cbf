"""Whether a challenger takes the champion's place: the rule, without any file or router.

Every question counts once, with the utility of the answer that each router would have got: challenger's minus champion's
is the gain. A challenger is promoted when the lower bound of its mean gain is above `min_gain` and no slice loses too
much. The bound's error level shrinks from look to look, see `look_level`, so a champion that is looked at every
night with ever new challengers is still wrongly replaced with a probability of at most `error_level` in its whole life.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flywheel_core.config_promotion import Promotion
from flywheel_core.learn.bounds import look_level, lower_bound
from flywheel_core.learn.promotion_log import Looks

Outcome = Literal["promoted", "rejected", "not_yet"]

SLICE_LEVEL = 0.05
"""Error level of a slice's bound, the same at each look: it can only stop a promotion."""


@dataclass(frozen=True)
class Gains:
    """What the challenger gains over the champion, question by question.

    gains: utility, challenger's minus champion's, shape (n,); slices: the champion's predicted category of each question,
    length n. One entry a question: repeats of a question are one entry with their mean.
    """

    gains: NDArray[np.float64]
    slices: Sequence[str]

    def __post_init__(self) -> None:
        if self.gains.shape != (len(self.slices),):
            raise ValueError(f"{self.gains.shape} gains and {len(self.slices)} slices do not belong together")


@dataclass(frozen=True)
class Slice:
    """One category of the champion's. mean, lower: gain and its lower 95 % bound; counts: whether it is large enough to."""

    category: str
    questions: int
    mean: float
    lower: float | None
    counts: bool


@dataclass(frozen=True)
class Judgement:
    """What was decided and why.

    look: which one since the champion's promotion, None when none was taken and so no error level spent; level: its
    error level; lower: bound of the mean gain; threshold: what it has to be above; next_look: test questions from which
    on there is another look, None unless the outcome is not_yet; aged: whether the champion is past its age, which lowers
    the threshold to minus `age_margin`.
    """

    outcome: Outcome
    reason: str
    questions: int
    differing: int
    mean: float | None = None
    lower: float | None = None
    threshold: float | None = None
    look: int | None = None
    level: float | None = None
    next_look: int | None = None
    aged: bool = False
    slices: tuple[Slice, ...] = ()


def judge(found: Gains, looks: Looks, settings: Promotion, *, champion_age_days: float = 0.0) -> Judgement:
    """The verdict on one challenger. Deterministic: the same input gives the same verdict."""
    questions, differing = len(found.gains), int(np.count_nonzero(found.gains))
    needed = max(settings.min_questions, math.ceil(looks.last_questions * (1 + settings.look_growth)))
    if questions < needed:
        return Judgement(
            "not_yet",
            f"{questions} test questions since the champion's promotion; the next look is at {needed}",
            questions,
            differing,
            next_look=needed,
        )
    if not differing:
        return Judgement(
            "rejected", "the challenger does as the champion does on every question", questions, 0, mean=0.0
        )
    aged = champion_age_days >= settings.max_age_days
    threshold = -settings.age_margin if aged else settings.min_gain
    look = looks.taken + 1
    level = look_level(settings.error_level, look)
    mean, lower = float(found.gains.mean()), lower_bound(found.gains, level)
    slices = _slices(found, settings)
    losing = [
        one for one in slices if one.counts and one.lower is not None and one.lower < -settings.max_slice_loss
    ]
    outcome: Outcome = "promoted" if lower > threshold and not losing else "rejected"
    return Judgement(
        outcome,
        _reason(mean, lower, threshold, look, aged, losing),
        questions,
        differing,
        mean,
        lower,
        threshold,
        look,
        level,
        aged=aged,
        slices=slices,
    )


def _slices(found: Gains, settings: Promotion) -> tuple[Slice, ...]:
    names = np.asarray(found.slices, dtype=object)
    slices = []
    for category in sorted(set(found.slices)):
        gains = found.gains[names == category]
        lower = lower_bound(gains, SLICE_LEVEL) if len(gains) > 1 else None
        enough = len(gains) >= settings.min_slice_questions
        slices.append(Slice(category, len(gains), float(gains.mean()), lower, enough))
    return tuple(slices)


def _reason(
    mean: float, lower: float, threshold: float, look: int, aged: bool, losing: Sequence[Slice]
) -> str:
    above = lower > threshold
    parts = [
        f"mean gain {mean:+.4f}, lower bound {lower:+.4f} at look {look},"
        f" {'above' if above else 'not above'} {threshold:+.4f}"
    ]
    if aged:
        parts.append("the champion is past its age: not being worse is enough")
    parts.extend(
        f"category {one.category} may lose too much: lower bound {one.lower:+.4f} on {one.questions} questions"
        for one in losing
    )
    return "; ".join(parts)
