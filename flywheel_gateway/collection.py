"""Collect in the background: starts once the client has its response, is bounded, and delays nobody."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flywheel_core.collect.fanout import Fanout
from flywheel_core.collect.point import Served
from flywheel_core.collect.question import Question
from flywheel_core.collect.sampling import Plan
from flywheel_core.collect.spend import Spend
from flywheel_core.errors import FlywheelError, SkippedError, StorageError
from flywheel_core.learn.decision import Decision
from flywheel_core.records import DataPoint
from flywheel_gateway.headers import RawHeaders, value_of
from flywheel_gateway.metrics import Metrics
from flywheel_gateway.request import user_hash
from flywheel_gateway.setup import Setup
from flywheel_gateway.uploads import Uploads

logger = logging.getLogger(__name__)

MAX_REQUEST_ID = 200

COLLECTING = "collecting"
"""The `reason` in /v1/observe's response when the request is being collected."""

GATEWAY_SKIPS = {
    "not_answered": "no model answered the client",
    "client_left": "the client left before the end of its answer",
    "failed": "collecting failed; the log says how",
}
"""Reasons for not collecting that only a gateway has, in addition to `SKIP_CODES`."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a request: its headers, and the tenant of its key, None without a key."""

    received: RawHeaders
    tenant: str | None


@dataclass(frozen=True, slots=True)
class Subject:
    """An answered request that may be collected.

    body: the decoded chat body; decision: None if it is not known here; served: the model that answered.
    """

    body: Mapping[str, Any]
    decision_id: str
    decision: Decision | None
    served: str
    sender: Sender

    @property
    def request_id(self) -> str:
        """The id that sampling goes by: the client's X-Request-Id, or else the decision id."""
        return (value_of(self.sender.received, b"x-request-id") or self.decision_id)[:MAX_REQUEST_ID]


class Collection:
    """Collects answered requests under the current setup. Raises ConfigIncompleteError as `use` does."""

    def __init__(self, setup: Setup, uploads: Uploads, spend: Spend, metrics: Metrics) -> None:
        self._uploads = uploads
        self._spend = spend
        self._metrics = metrics
        self._fanout: Fanout | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._coming: Counter[str] = Counter()  # calls by model of those under way that do not run yet
        self._skipped: Counter[str] = Counter()
        self.use(setup)

    def use(self, setup: Setup) -> None:
        """Collect under a different setup from now on.

        Raises ConfigIncompleteError when the setup enables collection but lacks a setting that collection
        needs; nothing changes then.
        """
        if setup.config.data_collection.enabled:
            if self._fanout is None:
                self._fanout = Fanout(setup.config, spend=self._spend)
            else:
                self._fanout.use(setup.config)
        self._setup = setup

    def consider(self, subject: Subject, served: Callable[[], Served]) -> str | None:
        """Start collecting in the background and return None, or return the reason code for not collecting.

        Never waits, never raises. `served` returns the response that the client got; it is called only if the
        request is collected.
        """
        fanout = self._fanout
        settings = self._setup.config.data_collection
        if fanout is None or not settings.enabled:
            return self.skip("disabled")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in subject.sender.received}
        try:
            plan = fanout.plan(subject.request_id, headers, subject.served)
        except SkippedError as error:
            return error.code
        try:
            Question(subject.body, multi_turn=settings.multi_turn)
        except SkippedError as error:
            return self.skip(error.code)
        except FlywheelError as error:  # a body nested so deep that it can be read but not written again
            return self._failed(subject, error)
        try:
            fanout.expect_room(plan, subject.served, self._coming)
        except SkippedError as error:
            return error.code
        # The fan-out counts only what it still asks and scores, not what waits for room in the uploader.
        if len(self._under_way) >= settings.max_in_flight:
            return self.skip("busy")
        self._coming.update(_calls(plan, subject))
        task = asyncio.create_task(self._collect(fanout, subject, plan, served()))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return None

    def skip(self, code: str) -> str:
        """Count a request that is not collected, and return the code."""
        self._skipped[code] += 1
        return code

    def stats(self) -> dict[str, Any]:
        """Return the fan-out's counts, if there is one; `skipped` includes the gateway's own reasons."""
        stats = {} if self._fanout is None else self._fanout.stats()
        return {**stats, "skipped": dict(self._skipped + Counter(stats.get("skipped", {})))}

    async def close(self, deadline: float) -> None:
        """Let collection in progress finish within `deadline` seconds, then cancel the rest.

        How many are cancelled is logged. If the spend cannot be saved this is only logged, because the collected
        points must still be uploaded.
        """
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=deadline)
            for task in late:
                task.cancel()
            if late:
                logger.warning("collection_cut_off", extra={"points": len(late)})
            await asyncio.gather(*late, return_exceptions=True)
        if self._fanout is not None:
            try:
                await self._fanout.close()
            except StorageError as error:
                logger.error("spend_not_saved", extra={"reason": error.message})

    async def _collect(self, fanout: Fanout, subject: Subject, plan: Plan, served: Served) -> None:
        self._coming.subtract(_calls(plan, subject))
        named = (subject.body.get(field) for field in ("user", "safety_identifier"))
        user = next((name for name in named if name and isinstance(name, str)), None)
        try:
            point = await fanout.collect(
                subject.body,
                plan=plan,
                served=served,
                decision_id=subject.decision_id,
                classification=_classification(subject.decision),
                tenant=subject.sender.tenant,
                user=user_hash(user, self._setup.user_secret),
            )
            self._count(point, served.model)
            await self._uploads.offer(point)
        except SkippedError:
            return  # counted by the fan-out
        except FlywheelError as error:
            self._failed(subject, error)
        except Exception:
            logger.exception("collecting_failed", extra={"decision_id": subject.decision_id})
            self.skip("failed")

    def _failed(self, subject: Subject, error: FlywheelError) -> str:
        logger.error("collecting_failed", extra={"decision_id": subject.decision_id, "reason": error.message})
        return self.skip("failed")

    def _count(self, point: DataPoint, served: str) -> None:
        score = point.scores.get(served)
        if score is not None:
            self._metrics.score(score)
        for model, response in point.responses.items():
            if model != served and response.cost:
                self._metrics.spend.labels(model, "collection").inc(response.cost)


def _calls(plan: Plan, subject: Subject) -> list[str]:
    """Return the models that are called for a data point: those of the plan without the one that answered."""
    return [name for name in plan.models if name != subject.served]


def _classification(decision: Decision | None) -> dict[str, Any] | None:
    if decision is None:
        return None
    return {
        "category": decision.category,
        "confidence": decision.confidence,
        "model": decision.model,
        "reason": decision.reason,
        "router_version": decision.router_version,
    }
