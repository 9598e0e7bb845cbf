"""How the router in service stands beside each single model on the newest test questions.

A judgement compares it with its challengers alone. If a model that it trusts becomes worse, it may be weeks until a
challenger has proved itself on as few questions as came since then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from flywheel_core.config import Config
from flywheel_core.lake.layout import Layout, first_second
from flywheel_core.learn.champion import version_folder
from flywheel_core.learn.evidence import AsServed, Choice, Chooser, Chosen, fresh_questions, gains_of
from flywheel_core.learn.nightly import Craft
from flywheel_core.learn.registry import Registry

DAYS = 7
"""How many days count, up to the newest with examples: more would hide a change, fewer have too few test questions."""

ERROR_LEVEL = 0.01
"""Probability with which some model is called better although none is, on one day's look."""

MAX_QUESTIONS = 5_000
"""Most questions that are compared, an equal share of each day's: with so many, 0.05 of utility is beyond doubt."""


class Better(NamedTuple):
    """A model that is better beyond doubt: its mean gain in utility over the router, and the bound below it."""

    model: str
    gain: float
    lower: float


@dataclass(frozen=True)
class Standing:
    """The router in service beside the single models.

    first, last: the days of the questions; questions: the most on which one model could be compared; better: the
    models that are better beyond doubt, the best first.
    """

    version: str
    first: date
    last: date
    questions: int
    better: list[Better]


def standing(layout: Layout, config: Config, craft: Craft) -> Standing | None:
    """Compare the champion with each model that is collected from, by what `learning` says that an answer is worth.

    None when there is no champion or no day with examples. Raises RouterError when the pointer or the champion is
    damaged, StorageError when a table is.
    """
    champion = Registry(layout, craft.verify).champion()
    days = layout.table_days("training_examples")
    if champion is None or not days:
        return None
    last = days[-1]
    first = last - timedelta(days=DAYS - 1)
    limits = {"max_questions": MAX_QUESTIONS, "min_questions": 0, "window_questions": 0, "window_days": DAYS}
    questions = fresh_questions(
        layout, first_second(first) - 1, last, config.promotion.model_copy(update=limits)
    )
    router = _Once(
        AsServed(
            craft.load(version_folder(layout, champion.version)),
            list(config.models),
            config.routing.default_model,
        )
    )
    models = config.data_collection.training.candidate_models or list(config.models)
    compared, better = 0, []
    for model in models:
        gains = gains_of(questions, router, _Always(model), config.learning, config.models)
        compared = max(compared, len(gains.gains))
        if len(gains.gains) > 1:  # of fewer than about thirty the bound says nothing either
            lower = gains.lower(ERROR_LEVEL / len(models))
            if lower > 0:
                better.append(Better(model, float(gains.shares().mean()), lower))
    better.sort(key=lambda one: -one.gain)
    return Standing(champion.version, first, last, compared, better)


class _Always:
    """Chooses one model whatever the question."""

    def __init__(self, model: str) -> None:
        self._choice = Chosen(model, "")

    def decide_all(self, prompts: Sequence[str]) -> Sequence[Choice]:
        return [self._choice] * len(prompts)


class _Once:
    """A router that is compared several times on the same questions, and decides about them once."""

    def __init__(self, router: Chooser) -> None:
        self._router = router
        self._choices: Sequence[Choice] | None = None

    def decide_all(self, prompts: Sequence[str]) -> Sequence[Choice]:
        if self._choices is None:
            self._choices = self._router.decide_all(prompts)
        return self._choices
