"""The questions that a challenger is judged on, and what each router would have got on them.

They are test-split questions received after those that the champion's promotion rests on.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flywheel_core.config_promotion import Promotion
from flywheel_core.lake.layout import Layout, day_of, first_second
from flywheel_core.lake.schemas import TABLES
from flywheel_core.lake.tables import table_batches
from flywheel_core.learn.alike import alike
from flywheel_core.learn.example_rows import read_examples
from flywheel_core.learn.examples import Examples
from flywheel_core.learn.excerpts import in_excerpts
from flywheel_core.learn.gains import Gains
from flywheel_core.learn.settings import Learning

COLUMNS = ("received_at", "text", "outcomes")
LEAST_ASKED = 0.01
"""Lowest probability of being asked that is used: lower ones count as this one, as in datasets."""


class Choice(Protocol):
    """The part of a decision that matters here: the chosen model and the category it stands for."""

    @property
    def model(self) -> str: ...
    @property
    def category(self) -> str: ...


class Chooser(Protocol):
    """The part of a router that matters here."""

    def decide_all(self, prompts: Sequence[str]) -> Sequence[Choice]:
        """Return one decision per prompt, in their order."""


def fresh_questions(layout: Layout, since: float | None, last_day: date, settings: Promotion) -> pl.DataFrame:
    """Return test-split data points received after `since` on days up to `last_day`, in order.

    since: unix seconds, None for all. There are no more than the largest of `max_questions`, `min_questions`
    and `window_questions`, so that a night does not cost more the longer a champion serves. Days are read
    from the newest back until there are as many. No day gives more than that limit divided by the days of the
    window, or by the days there are if those are fewer; questions are drawn by their hash, so that repeats of
    a question stay together.

    Columns: received_at, text, outcomes (list of struct: model, score, failed, cost, latency_ms), and those
    that `in_excerpts` adds; texts are excerpts. A data point without a time of receipt counts as received in
    its day's first second: without any time, it would be used against every champion.
    """
    first = date.min if since is None else day_of(since)
    days = [day for day in layout.table_days("training_examples") if first <= day <= last_day]
    left = max(settings.max_questions, settings.min_questions, settings.window_questions)
    share = math.ceil(left / max(1, min(settings.window_days, len(days))))
    parts = []
    while days and left > 0:
        rows = _fresh_of(layout, days.pop(), since)
        parts.append(_drawn(rows, min(share, left)))
        left -= parts[-1].height
    empty = pl.DataFrame(TABLES["training_examples"].empty_table()).select(COLUMNS)
    return pl.concat([in_excerpts([empty]), *reversed(parts)])


def _fresh_of(layout: Layout, day: date, since: float | None) -> pl.DataFrame:
    """Return the fresh questions of one day."""
    received = pl.col("received_at").fill_null(first_second(day))
    fresh = (pl.col("split") == "test") & (True if since is None else received > since)
    rows = table_batches(layout, "training_examples", day, [*COLUMNS, "split"])
    return in_excerpts(part.filter(fresh).with_columns(received).select(COLUMNS) for part in rows)


def _drawn(rows: pl.DataFrame, count: int) -> pl.DataFrame:
    """Return these rows, or the `count` of them with the lowest question hashes, in their order."""
    if rows.height <= count:
        return rows
    groups = np.array(rows["group"].to_list(), dtype=np.str_)
    return rows[np.sort(np.argsort(groups, kind="stable")[:count])]


class AsServed:
    """A router as gateways serve it now: the default model replaces a model that is no longer configured.

    gone: such models, as far as the router has chosen them.
    """

    def __init__(self, router: Chooser, models: Collection[str], default: str) -> None:
        self.router, self.models, self.default = router, models, default
        self.gone: set[str] = set()

    def decide_all(self, prompts: Sequence[str]) -> Sequence[Choice]:
        """Return one choice per prompt, in their order; its category stays the router's."""
        choices = self.router.decide_all(prompts)
        self.gone |= {choice.model for choice in choices} - set(self.models)
        return [
            choice if choice.model in self.models else Chosen(self.default, choice.category)
            for choice in choices
        ]


class Chosen(NamedTuple):
    """A choice that no router made."""

    model: str
    category: str


@dataclass
class _Entry:
    """One question and its repeats.

    row: where it first came; times: how often it came, including the times when only chance left out one of the
    chosen models.
    """

    row: int
    category: str
    gained: float = 0.0
    weight: float = 0.0
    times: int = 0
    received: float = 0.0


def gains_of(
    questions: pl.DataFrame,
    champion: Chooser,
    challenger: Chooser,
    settings: Learning,
    models: Collection[str] | None = None,
) -> Gains:
    """Return what the challenger gains over the champion on each question, in utility.

    A question counts where both chosen models were asked and each has a score or a failure of its own; a
    score that the scorer failed to give is missing. Repeats of a question, with case, white space and digits
    folded, are one entry with their mean. Entries that are alike and came on one day are a bunch: the bound has to
    know which are not independent of each other.

    Where models were asked at random, as with `production.baseline`, a question on which the routers differ
    is known less often than one on which they agree. It therefore stands for 1 / probability questions;
    otherwise gains, and losses too, would be underestimated.

    models: the models that the two routers may choose, all by default. Outcomes of other models are ignored.
    """
    examples = read_examples(questions, settings, models=models)
    utilities = examples.utilities(settings)
    old, new = champion.decide_all(examples.texts), challenger.decide_all(examples.texts)
    gains = chosen_values(utilities, examples.models, new) - chosen_values(utilities, examples.models, old)
    weights = np.ones(len(gains))
    by_chance: NDArray[np.bool_] = np.zeros(len(gains), dtype=bool)
    if examples.asked is not None:
        # Of the models left to chance one is asked: both chosen ones are with the lesser of their
        # probabilities.
        asked = [chosen_values(examples.asked, examples.models, choices) for choices in (old, new)]
        weights = 1.0 / np.maximum(np.fmin(*asked), LEAST_ASKED)
        by_chance = np.any(examples.asked < 1, axis=1)
    times = questions["received_at"].to_list() if "received_at" in questions.columns else [None] * len(gains)
    entries: dict[str, _Entry] = {}
    for row, group in enumerate(examples.groups.tolist()):
        known = gains[row] == gains[row]
        if known or by_chance[row]:
            entry = entries.setdefault(group, _Entry(row, old[row].category))
            entry.times += 1
        if known:
            entry.gained += float(weights[row] * gains[row])
            entry.weight += float(weights[row])
            entry.received = max(entry.received, times[row] or 0.0)
    counted = [entry for entry in entries.values() if entry.weight > 0]
    chosen = [[choice.model for choice in choices] for choices in (old, new)]
    return Gains(
        np.array([entry.gained / entry.weight for entry in counted], dtype=float),
        [entry.category for entry in counted],
        None
        if examples.asked is None
        else np.array([entry.weight / entry.times for entry in counted], dtype=float),
        np.array([entry.received for entry in counted], dtype=float)
        if "received_at" in questions.columns
        else None,
        _told(examples, chosen, np.where(np.isnan(gains), 0.0, weights), times),
        np.column_stack(
            [
                alike([examples.texts[entry.row] for entry in counted]),
                np.array([entry.received // 86_400 for entry in counted], dtype=np.intp),
            ]
        ),
    )


def _told(
    examples: Examples,
    chosen: Sequence[Sequence[str]],
    weights: NDArray[np.float64],
    times: Sequence[float | None],
) -> NDArray[np.float64]:
    """Return, for each question on which the routers differ, when it came and how many it stands for, (k, 2).

    It stands for 0 where its gain is unknown. Left out are questions without any outcome, and questions from
    before a chosen model first had an outcome or after it last had one.
    """
    known = ~np.isnan(examples.scores)
    when = np.array([moment or 0.0 for moment in times])
    there = {
        model: (when[known[:, at]].min(), when[known[:, at]].max())
        for at, model in enumerate(examples.models)
    }
    rows = [
        (when[row], weights[row])
        for row, models in enumerate(zip(*chosen, strict=True))
        if models[0] != models[1]
        and known[row].any()
        and all(model in there and there[model][0] <= when[row] <= there[model][1] for model in models)
    ]
    return np.array(rows, dtype=float).reshape(-1, 2)


def chosen_values(
    values: NDArray[np.float64], models: Sequence[str], choices: Sequence[Choice]
) -> NDArray[np.float64]:
    """Return each row's value for its chosen model, (n,), NaN where it is unknown. values: (n, m)."""
    number = {model: at for at, model in enumerate(models)}
    columns = np.array([number.get(choice.model, -1) for choice in choices], dtype=np.intp)
    known = np.flatnonzero(columns >= 0)
    found = np.full(len(values), np.nan)
    found[known] = values[known, columns[known]]
    return found
