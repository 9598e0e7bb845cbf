"""One gateway process: assembled, kept in line with its configuration file, and shut down in order."""

import asyncio
import gc
import logging
import math
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from flywheel_core.collect.scoring import SCORE_REASONS
from flywheel_core.collect.spend import Spend
from flywheel_core.config import Config
from flywheel_core.config_file import find_file, load_config
from flywheel_core.errors import FlywheelError, RequestError
from flywheel_core.lake.atomic import Mark, mark_of
from flywheel_core.lake.layout import Layout
from flywheel_core.serve.access import Access
from flywheel_core.serve.keys import KeyStore
from flywheel_core.serve.lifecycle import Drain, serve
from flywheel_core.serve.limits import BoundedProtocol
from flywheel_core.serve.logs import log_as_json
from flywheel_gateway.app import App
from flywheel_gateway.collection import Collection
from flywheel_gateway.decisions import DecisionLog
from flywheel_gateway.gateway import Gateway
from flywheel_gateway.headers import RawHeaders
from flywheel_gateway.metrics import Metrics
from flywheel_gateway.replies import refusal
from flywheel_gateway.routers import Follower
from flywheel_gateway.setup import make_setup
from flywheel_gateway.uploads import Uploads
from flywheel_gateway.upstream import Upstream
from flywheel_gateway.watch import watch_file

logger = logging.getLogger(__name__)

UPLOAD_SECONDS = 3.0
"""Most seconds that the uploader goes on sending at shutdown; the rest stays in the spool."""
_NO_SCORES = dict.fromkeys((reason for reason in SCORE_REASONS if reason != "no_answer"), 0)
"""Counts of missing scores at the start: Prometheus sees no increase in a series that begins with its first event."""
LEAST_SECONDS = 0.5
"""Seconds that collection and uploader each have at shutdown when connections took all the time there was."""


class Protocol(BoundedProtocol):
    """Connections that refuse requests in the format of the OpenAI API, as the application does."""

    def refusal(self, error: RequestError) -> tuple[int, bytes, RawHeaders]:
        """Return the refusal in the application's format."""
        return refusal(error)


class Service:
    """A gateway with everything it needs.

    load: reads the configuration, at the start and after each change of `file`.
    """

    def __init__(self, load: Callable[[], Config], file: Path | None = None) -> None:
        self._file = file
        self._mark: Mark = mark_of(file) if file else None
        self._load = load
        self._started_with = config = load()
        layout = Layout(config.storage.data_dir)
        settings = config.gateway
        self.drain = Drain(settings.drain_timeout)
        self.metrics = Metrics()
        access = Access(KeyStore(layout.client_keys), settings.host, allow_anonymous=settings.allow_anonymous)
        setup = make_setup(config)
        self.metrics.expect(setup.targets)
        self._spend = Spend(config.data_collection.max_cost_per_day, layout.spool / "spend.json")
        self._uploads = Uploads(config, layout.spool)
        self._decisions = DecisionLog(
            layout.decisions, settings.decision_log_bytes, settings.decision_log_days
        )
        self._upstream = Upstream(guard=setup.guard)
        collection = Collection(setup, self._uploads, self._spend, self.metrics)
        self.gateway = Gateway(
            setup, collection, self._upstream, self.metrics, self._decisions, f"gw-{uuid.uuid4().hex}"
        )
        self._follower = Follower(layout, lambda: self.gateway.setup.decider)
        self.gateway.router_state = self._follower.state
        self._refused = False
        self.app = App(self.gateway, access, settings)
        self.metrics.show(self._counts)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run everything in the background, from before the first request until after the last."""
        await self._uploads.start()
        self._decisions.start()
        await self._follower.look()
        tasks = [asyncio.create_task(self._follower.follow())]
        if self._file is not None:
            tasks.append(asyncio.create_task(watch_file(self._file, self._reload, self._mark)))
        gc.freeze()  # start-up objects live on: no garbage collection needs to scan them
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.gateway.collection.close(self.drain.left(LEAST_SECONDS))
            await self._uploads.close(min(UPLOAD_SECONDS, self.drain.left(LEAST_SECONDS)))
            await self._decisions.close()
            await self._upstream.close()
            self.gateway.setup.decider.close()

    async def _reload(self) -> None:
        """Apply the changed file.

        Raises FlywheelError when it is refused; the earlier configuration stays in force then.
        """
        try:
            config = await asyncio.to_thread(self._load)
            before = self.gateway.setup
            setup = await asyncio.to_thread(make_setup, config, before.decider.router)
            uploader = self._uploads.prepare(config)
            self.gateway.collection.use(setup)
        except FlywheelError:
            self._refused = True
            self.metrics.reloads.labels("refused").inc()
            raise
        self.gateway.setup = setup  # the threads of the earlier decider end with the last request that has it
        self.metrics.expect(setup.targets)
        self._upstream.guard = setup.guard
        if uploader is not None:
            await self._uploads.exchange(uploader, config)
        self._refused = False
        self.metrics.reloads.labels("taken").inc()
        needs_restart = _needs_restart(self._started_with, config)
        logger.info("configuration_taken", extra={"file": str(self._file), "needs_restart": needs_restart})

    def _counts(self) -> dict[str, Any]:
        """Return the counts that /metrics shows in addition to the instruments."""
        collected = self.gateway.collection.stats()
        cache = self.gateway.setup.decider.cache
        limit = self._spend.limit
        return {
            **_upload_counts(self._uploads.stats()),
            **self._follower.counts(),
            "flywheel_gateway_collection_points_total": collected.get("points", 0),
            "flywheel_gateway_collection_in_flight": collected.get("in_flight", 0),
            "flywheel_gateway_collection_skipped_total:reason": collected["skipped"],
            "flywheel_gateway_collection_calls_total:model": collected.get("calls", {}),
            "flywheel_gateway_collection_retries_total:model": collected.get("retries", {}),
            "flywheel_gateway_collection_failures_total:model,reason": _by_model_and_reason(
                collected.get("failures", {})
            ),
            "flywheel_gateway_missing_scores_total:reason": _NO_SCORES | collected.get("missing_scores", {}),
            "flywheel_gateway_collection_unpriced_total": collected.get("unpriced", 0),
            "flywheel_gateway_collection_spend_today": self._spend.today,
            "flywheel_gateway_collection_spend_limit": math.inf if limit is None else limit,
            "flywheel_gateway_decision_cache_entries": 0 if cache is None else len(cache),
            "flywheel_gateway_decision_log_written_total": self._decisions.written,
            "flywheel_gateway_decision_log_dropped_total": self._decisions.dropped,
            "flywheel_gateway_configuration_refused": int(self._refused),
        }


def run(
    config_file: Path | None,
    *,
    host: str | None = None,
    port: int | None = None,
    data_dir: Path | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP. host, port, data_dir: override every configuration that is read.

    Raises ConfigError, UsageError, StorageError or another FlywheelError when the gateway cannot start.
    """
    log_as_json()
    logging.getLogger("uvicorn.error").addFilter(_is_no_cut_answer)
    file = find_file(config_file)

    def load() -> Config:
        config = load_config(file)
        listen = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
        gateway = config.gateway.model_copy(update=listen)
        storage = config.storage.model_copy(update={} if data_dir is None else {"data_dir": data_dir})
        return config.model_copy(update={"gateway": gateway, "storage": storage})

    service = Service(load, file)
    config = service.gateway.setup.config
    serve(
        service.app,
        config.gateway,
        service.metrics,
        service.running(),
        protocol=Protocol,
        data_dir=config.storage.data_dir,
        drain=service.drain,
    )


def _is_no_cut_answer(record: logging.LogRecord) -> bool:
    """Return False for what uvicorn says of a response left unfinished.

    The gateway does that on purpose when a model's answer breaks off, and logs it with the model's name.
    """
    return record.msg != "ASGI callable returned without completing response."


def _needs_restart(started_with: Config, config: Config) -> list[str]:
    """Return the settings that differ in the file but keep their value until a restart."""
    changed = [
        f"gateway.{name}"
        for name in type(config.gateway).model_fields
        if getattr(config.gateway, name) != getattr(started_with.gateway, name)
        and name not in ("allow_private_upstreams", "user_secret_env")
    ]
    if config.storage.data_dir != started_with.storage.data_dir:
        changed.append("storage.data_dir")
    return changed


def _upload_counts(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Return the uploader's counts: offered = acknowledged + rejected + spooled + in_memory + dropped."""
    counts = {
        f"flywheel_upload_{name}_total": stats[name]
        for name in ("offered", "acknowledged", "rejected", "dropped", "uploads")
    }
    gauges = {f"flywheel_upload_{name}": stats[name] for name in ("spooled", "in_memory", "spool_bytes")}
    return {**counts, **gauges, "flywheel_upload_failures_total:reason": stats["failed_uploads"]}


def _by_model_and_reason(failures: dict[str, dict[str, int]]) -> dict[tuple[str, str], int]:
    return {
        (model, reason): count for model, reasons in failures.items() for reason, count in reasons.items()
    }
