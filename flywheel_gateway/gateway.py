"""The state of one gateway and how it handles a request: decide, forward, account, collect."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Send

from flywheel_core.collect.point import Served
from flywheel_core.collect.spend import cost_of
from flywheel_core.errors import FlywheelError, RequestError
from flywheel_core.learn.decision import Decision
from flywheel_gateway.collection import Collection, Sender, Subject
from flywheel_gateway.decisions import DecisionLog, new_decision_id, record_of
from flywheel_gateway.exchange import Exchange
from flywheel_gateway.failing import PAUSED
from flywheel_gateway.headers import check_loop, of_decision
from flywheel_gateway.metrics import Metrics
from flywheel_gateway.names import named_model
from flywheel_gateway.request import ChatRequest
from flywheel_gateway.setup import Setup
from flywheel_gateway.upstream import Upstream

logger = logging.getLogger(__name__)

REMEMBERED_DECISIONS = 10_000
"""Decisions of /v1/route kept in memory for an /v1/observe that may follow."""


@dataclass
class Gateway:
    """What all requests share.

    setup and collection follow the configuration when it changes; instance: the name by which this process
    recognises requests that come back to it; router_state: what /ready reports about the router.
    """

    setup: Setup
    collection: Collection
    upstream: Upstream
    metrics: Metrics
    decisions: DecisionLog
    instance: str
    router_state: Callable[[], Mapping[str, Any]] = dict
    _asked: OrderedDict[str, Decision] = field(default_factory=OrderedDict)

    async def chat(self, request: ChatRequest, sender: Sender, send: Send) -> None:
        """Have a model answer a chat completion, then hand the request to collection.

        Raises RequestError when no model answers or the gateway itself is at fault, UpstreamError when the
        response breaks off midway.
        """
        started = time.perf_counter()
        setup, collection = self.setup, self.collection
        marks = check_loop(sender.received, self.instance)
        named = named_model(request.body.get("model"), setup.targets)
        decision = await self._decide(setup, request.prompt, named)
        exchange = Exchange(request, sender.received, decision, new_decision_id(), marks)
        targets = setup.order(decision, named=named is not None, streamed=request.streamed)
        if decision.model in [target.name for target in targets[1:]]:
            exchange.failed[decision.model] = PAUSED
        try:
            await exchange.run(self.upstream, targets, send)
        except asyncio.CancelledError:
            exchange.left = True
            if not exchange.complete:  # otherwise the client has all of its answer
                raise
        except FlywheelError:
            raise
        except Exception as error:
            logger.exception("request_failed", extra={"decision_id": exchange.decision_id})
            headers = of_decision(decision, exchange.decision_id, None)
            raise RequestError("internal_error", headers=headers) from error
        finally:
            self._account(setup, exchange, time.perf_counter() - started)
            record = record_of(exchange.decision_id, decision, request.prompt, sender.tenant)
            record.served, record.failed = exchange.served, exchange.failed
            record.collected = _collect(collection, exchange, sender)
            self.decisions.add(record)

    async def route(self, prompt: str, sender: Sender) -> tuple[str, Decision]:
        """Decide about a prompt without asking a model; return the decision id and the decision."""
        decision = await self._decide(self.setup, prompt, None)
        decision_id = new_decision_id()
        self.decisions.add(record_of(decision_id, decision, prompt, sender.tenant))
        self._asked[decision_id] = decision
        if len(self._asked) > REMEMBERED_DECISIONS:
            self._asked.popitem(last=False)
        return decision_id, decision

    def observe(
        self, body: Mapping[str, Any], served: Served, sender: Sender, decision_id: str | None
    ) -> tuple[str, str | None]:
        """Collect a request that another gateway had answered.

        Returns the decision id, and the reason if it is not collected, else None. A decision that another gateway
        made, or this one before a restart, is not known here.
        """
        decision = self._asked.get(decision_id) if decision_id else self.setup.decider.requested(served.model)
        subject = Subject(body, decision_id or new_decision_id(), decision, served.model, sender)
        return subject.decision_id, self.collection.consider(subject, lambda: served)

    async def _decide(self, setup: Setup, prompt: str, named: str | None) -> Decision:
        if named is not None:
            decision = setup.decider.requested(named)
        else:
            started = time.perf_counter()
            decision = await setup.decider.decide(prompt)
            self.metrics.decision_time.observe(time.perf_counter() - started)
        self.metrics.decisions.labels(decision.reason, decision.model).inc()
        return decision

    def _account(self, setup: Setup, exchange: Exchange, seconds: float) -> None:
        setup.failing.note(exchange.failed, exchange.answered_by)
        for model, reason in exchange.failed.items():
            self.metrics.failures.labels(model, reason.partition(":")[0]).inc()
        if exchange.left_waiting is not None:
            self.metrics.left_waiting.labels(exchange.left_waiting).inc()
        served = exchange.served
        if served is None or exchange.recorder is None:
            return
        self.metrics.answered.labels(served).inc()
        self.metrics.response_time.labels(served).observe(seconds)
        cost = cost_of(exchange.recorder.usage(), setup.config.models[served])
        if cost:
            self.metrics.spend.labels(served, "clients").inc(cost)
        elif cost is None and exchange.status == 200:
            self.metrics.unpriced.labels(served).inc()


def _collect(collection: Collection, exchange: Exchange, sender: Sender) -> bool:
    """Hand an answered request to collection; return whether it is collected."""
    recorder, served = exchange.recorder, exchange.served
    if served is None and exchange.left:
        collection.skip("client_left")
    elif recorder is None or served is None or exchange.status != 200:
        collection.skip("not_answered")
    elif not exchange.complete and (exchange.left or served not in exchange.failed):
        collection.skip("client_left")
    else:
        subject = Subject(exchange.request.body, exchange.decision_id, exchange.decision, served, sender)
        latency_ms = round(exchange.latency * 1000)
        reason = collection.consider(
            subject, lambda: Served(served, recorder.answer(complete=exchange.complete), latency_ms)
        )
        return reason is None
    return False
