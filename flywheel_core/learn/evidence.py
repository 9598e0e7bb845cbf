"""The questions that a challenger is judged on: test-split ones that came after the champion's promotion, and what each
router would have got on them."""

from collections.abc import Sequence
from datetime import date
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flywheel_core.lake.layout import Layout, day_of
from flywheel_core.lake.tables import read_table
from flywheel_core.learn.examples import read_examples
from flywheel_core.learn.promote import Gains
from flywheel_core.learn.settings import Learning

COLUMNS = ("received_at", "text", "outcomes")


class Choice(Protocol):
    """A decision, as far as it matters here: the model chosen and the category it stands for."""

    @property
    def model(self) -> str: ...
    @property
    def category(self) -> str: ...


class Chooser(Protocol):
    """A router, as far as it matters here."""

    def decide_all(self, prompts: Sequence[str]) -> Sequence[Choice]:
        """One decision a prompt, in their order."""


def fresh_questions(layout: Layout, since: float | None, last_day: date) -> pl.DataFrame:
    """The test-split data points received after `since` (unix seconds; all when None) on days up to `last_day`, in order.

    Columns: received_at, text, outcomes (list of struct: model, score, failed, cost, latency_ms).
    """
    first = date.min if since is None else day_of(since)
    days = [day for day in layout.table_days("training_examples") if first <= day <= last_day]
    rows = read_table(layout, "training_examples", days).filter(pl.col("split") == "test").select(COLUMNS)
    return rows if since is None else rows.filter(pl.col("received_at") > since)


def gains_of(questions: pl.DataFrame, champion: Chooser, challenger: Chooser, settings: Learning) -> Gains:
    """What the challenger gains on each question over the champion, in utility.

    A question counts where both chosen models were asked and scored or failed by themselves; a score that the scorer
    owes is missing. Repeats of a question, case, white space and digits folded, are one entry with their mean: entries have to
    be independent of each other, and questions made from one template are not.
    """
    examples = read_examples(questions, settings)
    utilities = examples.utilities(settings)
    old, new = champion.decide_all(examples.texts), challenger.decide_all(examples.texts)
    gains = chosen_values(utilities, examples.models, new) - chosen_values(utilities, examples.models, old)
    sums: dict[str, tuple[float, int, str]] = {}
    for group, gain, before in zip(examples.groups.tolist(), gains.tolist(), old, strict=True):
        if gain == gain:  # a number: both are known
            total, count, category = sums.get(group, (0.0, 0, before.category))
            sums[group] = (total + gain, count + 1, category)
    means = np.array([total / count for total, count, _ in sums.values()], dtype=float)
    return Gains(means, [category for _, _, category in sums.values()])


def chosen_values(
    values: NDArray[np.float64], models: Sequence[str], choices: Sequence[Choice]
) -> NDArray[np.float64]:
    """Each row's value (n, m) of its chosen model, NaN where that is unknown."""
    number = {model: at for at, model in enumerate(models)}
    columns = np.array([number.get(choice.model, -1) for choice in choices], dtype=np.intp)
    known = np.flatnonzero(columns >= 0)
    found = np.full(len(values), np.nan)
    found[known] = values[known, columns[known]]
    return found
