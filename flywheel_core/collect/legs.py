"""What happens for one model of a data point: ask it, price its answer, have that scored, and count all of it."""

from collections.abc import Callable, Mapping

from flywheel_core.collect.answer import Answer
from flywheel_core.collect.calls import Target, answer_of
from flywheel_core.collect.http import Http
from flywheel_core.collect.point import Leg, Served
from flywheel_core.collect.question import Question
from flywheel_core.collect.retries import RetryBudget, post_with_retries
from flywheel_core.collect.scoring import Scored, Scorer, code_of
from flywheel_core.collect.spend import Spend, cost_of
from flywheel_core.collect.stats import CollectStats
from flywheel_core.config import Config
from flywheel_core.prompt import clean
from flywheel_core.records import Response


class Legs:
    """Asks single models, under the configuration in use. budgets: model -> its budget of retries."""

    def __init__(
        self, http: Http, counters: CollectStats, budgets: Mapping[str, RetryBudget], spend: Spend
    ) -> None:
        self._http, self._counters, self._budgets, self._spend = http, counters, budgets, spend

    def use(self, config: Config, scorer: Scorer) -> None:
        """Use another configuration for all further steps."""
        self._config, self._scorer = config, scorer

    async def asked(
        self, question: Question, target: Target, ends: float, on_answer: Callable[[], None]
    ) -> Leg:
        """Ask a model and have its answer scored.

        ends: the loop's time at which the data point must be complete; on_answer: called when the call has ended.
        """
        name, settings = target.name, target.settings
        self._counters.calls[name] += 1
        try:
            attempt = await post_with_retries(
                self._http,
                target.endpoint,
                target.body(question),
                call_timeout=settings.timeout,
                ends=ends,
                max_bytes=target.max_bytes,
                budget=self._budgets[name],
                on_retry=lambda: self._count_retry(name),
            )
        finally:
            on_answer()
        answer = await answer_of(attempt, target)
        cost = cost_of(answer.usage, settings)
        if cost is not None:
            self._spend.add(cost)
        elif attempt.reply is not None and attempt.reply.status == 200:
            self._counters.unpriced += 1
        return await self._scored(question, name, answer, round(attempt.seconds * 1000), cost, ends)

    async def reused(self, question: Question, served: Served, ends: float) -> Leg:
        """Have the answer scored that the user already has."""
        self._counters.reused[served.model] += 1
        settings = self._config.models.get(served.model)
        cost = None if settings is None else cost_of(served.answer.usage, settings)
        return await self._scored(question, served.model, served.answer, served.latency_ms, cost, ends)

    async def _scored(
        self,
        question: Question,
        name: str,
        answer: Answer,
        latency_ms: int | None,
        cost: float | None,
        ends: float,
    ) -> Leg:
        response = Response(
            model=name,
            answer=None if answer.text is None else clean(answer.text),
            latency_ms=latency_ms,
            error=answer.error,
            finish_reason=answer.finish_reason,
            usage=answer.usage,
            cost=cost,
            raw_response=answer.raw,
        )
        if answer.error is not None or answer.text is None:
            self._counters.failures[name, code_of(answer.error)] += 1
            return response, Scored(None, "no_answer")
        settings = self._config.data_collection
        self._spend.add(settings.score_cost * settings.score_repeats)
        return response, await self._scorer.score(question.text, answer.text, ends=ends)

    def _count_retry(self, name: str) -> None:
        self._counters.retries[name] += 1
