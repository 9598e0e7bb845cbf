"""Ask several models one question at once, score every answer as it arrives, and make one data point.

A data point takes as long as its slowest model's call plus the scoring of that answer; no model waits for
another. Beyond `max_in_flight` data points, or a model's `max_concurrency` calls, a request is skipped
instead of waiting.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import httpx

from flywheel_core.collect.addresses import guard_of
from flywheel_core.collect.calls import Target, target_of
from flywheel_core.collect.http import Http, HttpxHttp
from flywheel_core.collect.legs import Legs
from flywheel_core.collect.point import Leg, Served, make_point
from flywheel_core.collect.pool import PooledHttp
from flywheel_core.collect.question import Question
from flywheel_core.collect.retries import RetryBudget
from flywheel_core.collect.sampling import Plan, plan_collection
from flywheel_core.collect.scoring import Scorer
from flywheel_core.collect.spend import Spend, save_until_saved
from flywheel_core.collect.stats import CollectStats
from flywheel_core.config import Config
from flywheel_core.errors import SkippedError
from flywheel_core.records import DataPoint


class Fanout:
    """Asks models, has their answers scored, and makes data points.

    One for the life of a process; an async context manager.

    client: an `httpx.AsyncClient` to use instead of Flywheel's own connections, with proxies of its own;
    environment: holds the models' keys and proxies, os.environ by default; spend: the count of what
    collection costs, kept in memory by default.

    Raises ConfigIncompleteError when a candidate's `base_url`, the scorer's address or a named key or proxy is
    missing, ConfigError when a named variable holds no address of a proxy.
    """

    def __init__(
        self,
        config: Config,
        *,
        client: httpx.AsyncClient | None = None,
        environment: Mapping[str, str] | None = None,
        spend: Spend | None = None,
    ) -> None:
        self._http: Http = HttpxHttp(client) if client is not None else PooledHttp()
        self._environment = environment
        self._budgets: dict[str, RetryBudget] = {}
        self._scorer_budget = RetryBudget(config.data_collection.retry_budget)
        self._calls_under_way: dict[str, int] = {}
        self._closed = False
        self._saving: asyncio.Task[None] | None = None
        self.counters = CollectStats()
        self.spend = spend or Spend(config.data_collection.max_cost_per_day)
        self._legs = Legs(self._http, self.counters, self._budgets, self.spend)
        self.use(config)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def use(self, config: Config) -> None:
        """Use another configuration for all further requests; if it is refused, nothing changes.

        Raises ConfigIncompleteError and ConfigError as the constructor does.
        """
        candidates = config.data_collection.training.candidate_models
        targets = {name: self._target(config, name) for name in candidates}
        share = config.data_collection.retry_budget
        scorer = Scorer(config, http=self._http, stats=self.counters, budget=self._scorer_budget)
        for budget in (*self._budgets.values(), self._scorer_budget):
            budget.share = share
        if isinstance(self._http, PooledHttp):
            self._http.guard = guard_of(config)
        self.spend.limit = config.data_collection.max_cost_per_day
        self._config, self._targets = config, targets
        self._legs.use(config, scorer)

    def plan(self, request_id: str, headers: Mapping[str, str], predicted: str) -> Plan:
        """Run `plan_collection` under the current configuration; count a skip and raise SkippedError."""
        with self._counting_skips():
            return plan_collection(self._config, request_id, headers, predicted)

    def expect_room(self, plan: Plan, served: str, coming: Mapping[str, int]) -> None:
        """Raise SkippedError, counted, when `collect` with this plan would meet a bound now.

        `collect` looks at the bounds only once it runs: too late to say that a request is not collected.
        coming: model -> calls of requests that were told there is room, and do not run yet.
        """
        models = self._config.models
        called = (name for name in plan.models if name != served)
        with self._counting_skips():
            self._check_room({name: models[name].max_concurrency - coming.get(name, 0) for name in called})

    async def collect(
        self,
        request: Mapping[str, Any] | str,
        *,
        plan: Plan | None = None,
        served: Served | None = None,
        decision_id: str | None = None,
        classification: Mapping[str, Any] | None = None,
        tenant: str | None = None,
        user: str | None = None,
    ) -> DataPoint:
        """Ask every model of the plan, have the answers scored, and return the data point.

        request: a decoded chat body, or the question alone; plan: all candidate models by default; served:
        the answer that the user already has; decision_id: 1 to 128 characters, becomes the point's id. A
        model's failure goes into its response's `error`, a missing score has its reason in `score_reasons`;
        neither raises.

        Raises SkippedError, counted by its code, when the request is not collected; UsageError when it is not
        JSON; ConfigIncompleteError for a model of the plan that has no address. Cancellation ends every call
        in progress.
        """
        with self._counting_skips():
            if self._closed:
                raise SkippedError("closed")
            question = Question(request, multi_turn=self._config.data_collection.multi_turn)
            plan = plan or Plan(
                tuple(self._targets),
                self._config.data_collection.mode,
                asked=dict.fromkeys(self._targets, 1.0),
            )
            targets = [
                self._target_of(name) for name in plan.models if served is None or name != served.model
            ]
            places = self._admit(targets)
        try:
            began = int(time.time())
            legs = await self._ask_and_score(question, targets, places, served)
        except asyncio.CancelledError:
            self.counters.cancelled += 1
            raise
        finally:
            self.counters.in_flight -= 1
            for name in list(places):
                self._give_back(name, places)
            self._keep_spend_saved()
        self.counters.points += 1
        return make_point(
            question,
            legs,
            plan,
            served,
            timestamp=began,
            decision_id=decision_id,
            classification=classification,
            tenant=tenant,
            user=user,
        )

    def stats(self) -> dict[str, Any]:
        """Return a snapshot of all counters, today's spend and its limit."""
        return {
            **self.counters.snapshot(),
            "max_in_flight": self._config.data_collection.max_in_flight,
            "calls_under_way": {name: count for name, count in self._calls_under_way.items() if count},
            "spend_today": self.spend.today,
            "max_cost_per_day": self.spend.limit,
        }

    async def close(self) -> None:
        """Accept no more requests, close the connections and save the spend.

        Calls in progress over Flywheel's own connections fail.

        Calling it twice is fine. Raises StorageError when the spend cannot be saved.
        """
        self._closed = True
        if self._saving is not None:
            self._saving.cancel()
        await self._http.close()
        await asyncio.to_thread(self.spend.save)

    def _target(self, config: Config, name: str) -> Target:
        target = target_of(config, name, self._environment)
        self._budgets.setdefault(name, RetryBudget(config.data_collection.retry_budget))
        return target

    def _target_of(self, name: str) -> Target:
        """Return a model's target; that of a routed model that is no candidate is made at its first call."""
        if name not in self._targets:
            self._targets[name] = self._target(self._config, name)
        return self._targets[name]

    def _admit(self, targets: list[Target]) -> set[str]:
        """Reserve a slot for the point and one per call; return the models called. Raises SkippedError."""
        self._check_room({target.name: target.settings.max_concurrency for target in targets})
        self.counters.in_flight += 1
        for target in targets:
            self._calls_under_way[target.name] = self._calls_under_way.get(target.name, 0) + 1
        return {target.name for target in targets}

    def _check_room(self, calls: Mapping[str, int]) -> None:
        """Raise SkippedError when no further point is taken now. calls: model -> most calls at once."""
        if self.spend.exhausted:
            raise SkippedError("cost_limit")
        if self.counters.in_flight >= self._config.data_collection.max_in_flight:
            raise SkippedError("busy")
        for name, most in calls.items():
            if self._calls_under_way.get(name, 0) >= most:
                raise SkippedError("model_busy", f"{name} has max_concurrency calls under way")

    def _give_back(self, name: str, places: set[str]) -> None:
        """Release a call's slot once: at the end of the call, or of the data point if it never started."""
        if name in places:
            places.remove(name)
            self._calls_under_way[name] -= 1

    def _keep_spend_saved(self) -> None:
        """Have the spend saved in the background: the next data point may be long in coming, or not come today."""
        if self.spend.unsaved and not self._closed and (self._saving is None or self._saving.done()):
            self._saving = asyncio.create_task(save_until_saved(self.spend))

    @contextmanager
    def _counting_skips(self) -> Iterator[None]:
        try:
            yield
        except SkippedError as skip:
            self.counters.skipped[skip.code] += 1
            raise

    async def _ask_and_score(
        self, question: Question, targets: list[Target], places: set[str], served: Served | None
    ) -> list[Leg]:
        ends = asyncio.get_running_loop().time() + self._config.data_collection.point_timeout
        legs = [
            self._legs.asked(question, target, ends, partial(self._give_back, target.name, places))
            for target in targets
        ]
        if served is not None:
            legs.append(self._legs.reused(question, served, ends))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(leg) for leg in legs]
        return [task.result() for task in tasks]
