"""The rule by which a challenger takes the champion's place, without any file or router.

Every question counts once, with the utility of the answer that each router would have got: the challenger's
minus the champion's is the gain. Gains are looked at over all questions since the champion's promotion and
over the newest of them (see `_recent`), so that what a champion was worth long ago does not keep it in
service. A challenger is promoted when the lower bound of its mean gain is above `min_gain` and no slice loses
too much. The bound's error level shrinks from look to look (see `look_level`), so that a champion that is
looked at every night with ever new challengers is wrongly replaced with a probability of at most
`error_level` in its whole life, if questions are independent of each other or recognised as alike.
docs/promotion.md says how far others that are alike raise it.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from flywheel_core.config_promotion import Promotion
from flywheel_core.learn.bounds import look_level
from flywheel_core.learn.gains import Gains
from flywheel_core.learn.promotion_log import Looks

Outcome = Literal["promoted", "rejected", "not_yet"]

LEAST_TOLD = 0.5
"""Least share that must be known of the questions on which two routers differ.

The unknown ones may be exactly those that a model is bad at.
"""

SLICE_LEVEL = 0.05
"""Error level of a slice's bound, the same at each look: a slice can only prevent a promotion."""


@dataclass(frozen=True)
class Slice:
    """One of the champion's categories.

    mean, lower: mean gain and its lower 95 % bound; counts: whether it is large enough to prevent a
    promotion.
    """

    category: str
    questions: int
    mean: float
    lower: float | None
    counts: bool


@dataclass(frozen=True)
class Judgement:
    """What was decided and why.

    `questions`, `mean` and `lower` are of all questions since the promotion or of the newest of them,
    whichever has the higher bound.

    differing: questions with a gain other than 0
    mean, lower: mean gain and its lower bound
    threshold: what `lower` has to be above
    look: its number in the champion's life; None when none was taken and so no error level spent
    level: error level of the look
    next_look: test questions from which on there is another look; None unless more are needed
    aged: whether the champion is past `max_age_days`, which lowers the threshold to -`age_margin`
    recent_questions: how many are the newest
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
    recent_questions: int | None = None


def judge(found: Gains, looks: Looks, settings: Promotion, *, champion_age_days: float = 0.0) -> Judgement:
    """Return the verdict on one challenger. Deterministic: the same input gives the same verdict."""
    recent = _recent(found, settings)
    early = _without_a_look(found, recent, looks, settings)
    if early is not None:
        return early
    aged = champion_age_days >= settings.max_age_days
    threshold = -settings.age_margin if aged else settings.min_gain
    look = looks.taken + 1
    level = look_level(settings.error_level, look)
    bases = [found] if recent is found else [found, recent]  # two bounds share the error level
    lowers = [basis.lower(level / len(bases)) for basis in bases]
    at = int(np.argmax(lowers))
    basis, mean, lower = bases[at], float(bases[at].shares().mean()), lowers[at]
    now = float(recent.shares().mean())
    slices = _slices(found, recent, settings)
    losing = [
        one for one in slices if one.counts and one.lower is not None and one.lower < -settings.max_slice_loss
    ]
    reasons = [
        f"mean gain {mean:+.4f}, lower bound {lower:+.4f} at look {look},"
        f" {'above' if lower > threshold else 'not above'} {threshold:+.4f}"
        f"{f', on the newest {len(basis.gains)} test questions' if basis is not found else ''}"
    ]
    if aged:
        reasons.append("the champion is past its age: not being worse is enough")
    if basis is not recent and not now > threshold:
        reasons.append(f"on the newest {len(recent.gains)} questions the mean gain is {now:+.4f}")
    reasons.extend(
        f"category {one.category} may lose too much: lower bound {one.lower:+.4f} on {one.questions} questions"
        for one in losing
    )
    return Judgement(
        "promoted" if lower > threshold and now > threshold and not losing else "rejected",
        "; ".join(reasons),
        len(basis.gains),
        int(np.count_nonzero(basis.gains)),
        mean,
        lower,
        threshold,
        look,
        level,
        aged=aged,
        slices=slices,
        recent_questions=len(recent.gains),
    )


def _without_a_look(found: Gains, recent: Gains, looks: Looks, settings: Promotion) -> Judgement | None:
    """Return the verdict if it needs no bound and so spends no error level, None otherwise."""
    questions, differing = len(found.gains), int(np.count_nonzero(found.gains))
    growth = math.ceil(looks.last_questions * settings.look_growth) - _since_last_look(found, looks)
    wanted = max(settings.min_questions - questions, growth)
    if wanted > 0:
        return Judgement(
            "not_yet",
            f"{questions} test questions since the champion's promotion that both can be judged on;"
            f" the next look is after {wanted} more",
            questions,
            differing,
            next_look=questions + wanted,
        )
    if not differing and found.told() >= LEAST_TOLD:
        return Judgement(
            "rejected", "the challenger does as the champion does on every question", questions, 0, mean=0.0
        )
    if recent.told() < LEAST_TOLD:
        return Judgement(
            "not_yet",
            f"of the newest questions on which the two choose different models only {recent.told():.0%} are known: the"
            " chosen model was not asked on the others, as when it is not in training.candidate_models",
            questions,
            differing,
        )
    return None


def _since_last_look(found: Gains, looks: Looks) -> int:
    """Return how many questions came after the newest one of the last look."""
    if found.received is None or looks.newest is None:
        return len(found.gains) - looks.last_questions
    return int((found.received > looks.newest).sum())


def _recent(found: Gains, settings: Promotion) -> Gains:
    """Return the entries of the last `window_days`, or the newest `window_questions` if those are more.

    They are never fewer than `min_questions`. Over all questions since its promotion alone, a champion that
    was better for a year before the models changed would be replaced only once it had been worse for as long.
    """
    least = max(settings.window_questions, settings.min_questions)
    if found.received is None or len(found.gains) <= least:
        return found
    order = np.sort(found.received)
    first = min(order[-1] - settings.window_days * 86_400, order[-least])
    newest = np.flatnonzero(found.received >= first)
    return found.pick(newest) if len(newest) < len(order) else found


def _slices(found: Gains, recent: Gains, settings: Promotion) -> tuple[Slice, ...]:
    """Return each category, judged on its newest questions, or on all where only those can show enough.

    The newest are its questions in `recent`, or the newest `min_slice_questions` of the category if those are
    more, so that a rare category is judged too once it has had that many since the promotion. All are used
    where the bound of the newest is below -`max_slice_loss`, but their mean gain is not: so few questions of
    a category in which scores often differ would stop every challenger.
    """
    names = np.asarray(found.slices, dtype=object)
    slices = []
    for category in sorted(set(found.slices)):
        rows = np.flatnonzero(names == category)
        part = whole = found.pick(rows)
        if recent is not found and found.received is not None and recent.received is not None:
            rows = rows[np.argsort(found.received[rows], kind="stable")]
            newest = int((found.received[rows] >= recent.received.min()).sum())
            part = found.pick(np.sort(rows[-max(newest, settings.min_slice_questions) :]))
        mean, lower = float(part.shares().mean()), _slice_bound(part)
        if (
            lower is not None
            and lower < -settings.max_slice_loss <= mean
            and len(whole.gains) > len(part.gains)
        ):
            part = whole
            mean, lower = float(part.shares().mean()), _slice_bound(part)
        enough = len(part.gains) >= settings.min_slice_questions
        slices.append(Slice(category, len(part.gains), mean, lower, enough))
    return tuple(slices)


def _slice_bound(part: Gains) -> float | None:
    return part.lower(SLICE_LEVEL) if len(part.gains) > 1 else None
