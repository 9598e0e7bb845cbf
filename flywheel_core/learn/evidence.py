"""The questions that a challenger is judged on: test-split ones that came after the champion's promotion, and what each
router would have got on them."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flywheel_core.lake.layout import Layout, day_of
from flywheel_core.lake.tables import read_table
from flywheel_core.learn.promote import Gains

COLUMNS = ("received_at", "question_key", "text", "outcomes")


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


class Worth(Protocol):
    """What an answer is worth: score - lambda_cost x cost - lambda_latency x seconds; a failed one has `failure_score`."""

    @property
    def failure_score(self) -> float: ...
    @property
    def lambda_cost(self) -> float: ...
    @property
    def lambda_latency(self) -> float: ...


def fresh_questions(layout: Layout, since: float | None, last_day: date) -> pl.DataFrame:
    """The test-split data points received after `since` (unix seconds; all when None) on days up to `last_day`, in order.

    Columns: received_at, question_key, text, outcomes (list of struct: model, score, failed, cost, latency_ms).
    """
    first = date.min if since is None else day_of(since)
    days = [day for day in layout.table_days("training_examples") if first <= day <= last_day]
    rows = read_table(layout, "training_examples", days).filter(pl.col("split") == "test").select(COLUMNS)
    return rows if since is None else rows.filter(pl.col("received_at") > since)


def gains_of(questions: pl.DataFrame, champion: Chooser, challenger: Chooser, worth: Worth) -> Gains:
    """What the challenger gains on each question over the champion.

    A question counts where both chosen models were asked and scored or failed by themselves; a score that the scorer
    owes is missing. Repeats of a question, case, white space and digits folded, are one entry with their mean.
    """
    texts = questions["text"].to_list()
    old, new = champion.decide_all(texts), challenger.decide_all(texts)
    sums: dict[str, tuple[float, int, str]] = {}
    for key, outcomes, before, after in zip(
        questions["question_key"], questions["outcomes"].to_list(), old, new, strict=True
    ):
        known = worths(outcomes, worth)
        if before.model not in known or after.model not in known:
            continue
        total, count, category = sums.get(key, (0.0, 0, before.category))
        sums[key] = (total + known[after.model] - known[before.model], count + 1, category)
    gains: NDArray[np.float64] = np.array([total / count for total, count, _ in sums.values()], dtype=float)
    return Gains(gains, [category for _, _, category in sums.values()])


def worths(outcomes: Sequence[Mapping[str, Any]], worth: Worth) -> dict[str, float]:
    """Model -> what its answer was worth, of the models whose answer is known."""
    found = {}
    for outcome in outcomes:
        score = worth.failure_score if outcome["failed"] else outcome["score"]
        if score is not None:
            price = worth.lambda_cost * (outcome["cost"] or 0.0)
            wait = worth.lambda_latency * (outcome["latency_ms"] or 0.0) / 1_000
            found[outcome["model"]] = score - price - wait
    return found
