"""The result of a replay, day by day and in total."""

import math
from collections.abc import Callable
from datetime import date

import msgspec


class DayResult(msgspec.Struct, kw_only=True):
    """The result of one day. Scores are means over its questions, 0..1.

    questions: those on which all policies are compared
    router: the version that served the day; None for none, as on the first day
    gain_sum, gain_squares: sum of the score differences, routed minus best single, and of their squares
    priced: questions for which the cost of both choices is known
    paid, paid_single: total cost of these, routed and with the best single model, in the currency of the
        prices
    verdict: what became of the day's challenger; None until it is judged
    seen: model -> sum and number of its scores
    """

    day: date
    questions: int
    router: str | None
    routed: float | None
    best_single: float | None
    best_model: str | None
    random: float | None
    oracle: float | None
    gain_sum: float = 0.0
    gain_squares: float = 0.0
    priced: int = 0
    paid: float = 0.0
    paid_single: float = 0.0
    verdict: str | None = None
    reason: str = ""
    seen: dict[str, tuple[float, int]] = {}


class Summary(msgspec.Struct, kw_only=True):
    """The result of all days on which a router served.

    Scores are means over the questions; gain: routed minus best single, with its 95 % interval by the normal
    approximation; cost, cost_single: mean cost of a question, routed and with the best single model, over the
    `priced` questions for which both are known; None if there are none.
    """

    days: int
    questions: int
    routed: float
    best_single: float
    random: float
    oracle: float
    gain: float
    gain_low: float
    gain_high: float
    cost: float | None
    cost_single: float | None
    priced: int
    promotions: int


class Replay(msgspec.Struct, kw_only=True):
    """A replay as far as it has come. key: changes with whatever it is made from."""

    key: str
    models: list[str]
    days: list[DayResult] = []

    def summary(self) -> Summary | None:
        """Return the summary, None before a router has served a day."""
        served = [day for day in self.days if day.routed is not None and day.questions]
        total = sum(day.questions for day in served)
        if not total:
            return None

        def mean(of: Callable[[DayResult], float | None]) -> float:
            return sum((of(day) or 0.0) * day.questions for day in served) / total

        gain = sum(day.gain_sum for day in served) / total
        priced = sum(day.priced for day in served)
        spread = max(0.0, sum(day.gain_squares for day in served) / total - gain**2)
        margin = 1.96 * math.sqrt(spread / total)
        return Summary(
            days=len(served),
            questions=total,
            routed=mean(lambda day: day.routed),
            best_single=mean(lambda day: day.best_single),
            random=mean(lambda day: day.random),
            oracle=mean(lambda day: day.oracle),
            gain=gain,
            gain_low=gain - margin,
            gain_high=gain + margin,
            cost=sum(day.paid for day in served) / priced if priced else None,
            cost_single=sum(day.paid_single for day in served) / priced if priced else None,
            priced=priced,
            promotions=sum(day.verdict == "promoted" for day in self.days),
        )
