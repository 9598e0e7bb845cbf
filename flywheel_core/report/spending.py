"""What the collected questions cost lately, from the quality reports of the days.

Reads at most `DAYS` small files, however long the history is.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import read_table

DAYS = 30


@dataclass(frozen=True)
class Spending:
    """Costs of models and scorer together, in the currency of the prices.

    last_day: the newest day with a quality report, which may not be over; days: with a report, among the
    `DAYS` up to it; unpriced: answers on these whose cost is not known and not part of `total`.
    """

    last_day: date
    on_last_day: float
    days: int
    total: float
    unpriced: int


def spending(layout: Layout) -> Spending | None:
    """Return what was spent on the last day and the `DAYS` up to it; None before the first quality report.

    Raises StorageError when a report cannot be read.
    """
    known = layout.table_days("quality_report")
    if not known:
        return None
    recent = [day for day in known if known[-1] - day < timedelta(days=DAYS)]
    total = on_last_day = 0.0
    unpriced = 0
    rows = read_table(layout, "quality_report", recent).select("day", "metric", "value").iter_rows()
    for day, metric, value in rows:
        if metric in ("model_cost", "scorer_cost"):
            total += value or 0.0
            on_last_day += (value or 0.0) if day == known[-1] else 0.0
        elif metric == "unpriced_answers":
            unpriced += int(value or 0)
    return Spending(known[-1], on_last_day, len(recent), total, unpriced)
