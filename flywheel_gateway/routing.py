"""Decide which model answers a prompt: the router, cached and within a time limit, or else the default."""

import asyncio
import hashlib
import logging
from collections.abc import Collection
from dataclasses import replace
from typing import Protocol

from flywheel_core.config import Config
from flywheel_core.errors import RouterError
from flywheel_core.learn.decision import REASONS as ROUTER_REASONS
from flywheel_core.learn.decision import Decision
from flywheel_core.prompt import PROMPT_RULE
from flywheel_gateway.cache import DecisionCache
from flywheel_gateway.pause import Pause
from flywheel_gateway.threads import Threads

logger = logging.getLogger(__name__)

GENERAL = "general"
"""Category of a decision that no router made."""
UNSURE = 0.5
"""Confidence of a decision that no router made."""
ROUTER_THREADS = 2
RETRY_SECONDS = 10.0
"""Seconds between two prompts that try a router that kept taking too long."""
MAX_TOLD = 100
"""Most reasons for a router's failures that are logged; the metric of decisions counts each failure."""

CACHE = "cache"
REQUESTED = "requested"
FALLBACK = "fallback"
NO_ROUTER = "no_router"
NO_PROMPT = "no_prompt"
REASONS = {
    **ROUTER_REASONS,
    CACHE: "the router chose it for the same prompt before",
    REQUESTED: "the client named it",
    FALLBACK: "the router failed or took too long, so it is the default model",
    NO_ROUTER: "no router is in service yet, so it is the default model",
    NO_PROMPT: "the request has no question to route by, so it is the default model",
}
"""Why a model was chosen: reason -> meaning; the reasons of a trained router come first."""


class Router(Protocol):
    """What the gateway needs of a trained router. Called in threads; must be safe for several at once."""

    @property
    def version(self) -> str:
        """Name of the version, which appears in decisions and in the cache key."""

    def decide(self, prompt: str) -> Decision:
        """Return the decision for one prompt.

        May raise RouterError, or anything; the default model answers then.
        """


class _PausedError(Exception):
    """The router is not asked for the time being."""


class Decider:
    """Decides with the current router, which `take_up` can replace at any time.

    usable: models that can be asked.
    """

    def __init__(self, config: Config, usable: Collection[str], router: Router | None = None) -> None:
        self._routing = config.routing
        self._models = config.models
        self._usable = usable
        self._router = router
        cache = config.cache
        self.cache = DecisionCache[Decision](cache.max_entries, cache.ttl) if cache.enabled else None
        self._threads = Threads(ROUTER_THREADS, "router")
        self._pause = Pause(RETRY_SECONDS)
        self._told: set[str] = set()

    @property
    def router(self) -> Router | None:
        """The current router, None if there is none."""
        return self._router

    @property
    def paused(self) -> bool:
        """Whether the router is not asked for the time being, because it keeps taking too long."""
        return self._pause.on

    def take_up(self, router: Router | None) -> None:
        """Decide with another router from now on; cached decisions of the earlier one are no longer found."""
        self._router = router
        self._told.clear()
        self._threads.shutdown(wait=False)  # what holds up the earlier router must not hold up this one
        self._threads = Threads(ROUTER_THREADS, "router")
        self._pause = Pause(RETRY_SECONDS)

    def close(self) -> None:
        """Accept no more prompts; the threads end after the decisions that are still awaited."""
        self._threads.shutdown(wait=False)  # decisions that nobody awaits were cancelled by their time-out

    async def decide(self, prompt: str) -> Decision:
        """Return the decision for a prompt; the default model if there is no router or it fails.

        Never raises.
        """
        router = self._router
        if not prompt:
            return self._default(NO_PROMPT)
        if router is None:
            return self._default(NO_ROUTER)
        try:
            if self.cache is None:
                return await self._ask(router, prompt)
            hashed = hashlib.sha256(f"{router.version}\n{PROMPT_RULE}\n".encode())
            hashed.update(prompt.encode())  # separately: joining it to the rest would copy a large prompt
            key = hashed.digest()
            decision, cached = await self.cache.get(key, lambda: self._ask(router, prompt))
            return replace(decision, reason=CACHE) if cached else decision
        except TimeoutError:
            logger.warning(
                "router_too_slow", extra={"router": router.version, "seconds": self._routing.timeout}
            )
        except _PausedError:
            pass
        except RouterError as error:
            if self._is_new(error.message):
                extra = {"router": router.version, "reason": error.message}
                logger.warning("router_failed", extra=extra)
        except Exception as error:
            if self._is_new(type(error).__name__):
                logger.exception("router_failed", extra={"router": router.version})
        return self._default(FALLBACK, router.version)

    def requested(self, model: str) -> Decision:
        """Return the decision that a client made by naming a model."""
        return Decision(model, self._models[model].category or GENERAL, 1.0, REQUESTED)

    def _is_new(self, reason: str) -> bool:
        """Return whether to log a reason: once per router, because it may recur at every request."""
        if reason in self._told or len(self._told) == MAX_TOLD:
            return False
        self._told.add(reason)
        return True

    async def _ask(self, router: Router, prompt: str) -> Decision:
        """Ask the router.

        Raises TimeoutError, RouterError for an unusable model, _PausedError, and whatever the router raises.
        """
        pause = self._pause
        if not pause.allows():
            raise _PausedError
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._routing.timeout):
                decision = await loop.run_in_executor(self._threads, router.decide, prompt)
        except TimeoutError:
            if pause.failed():
                extra = {"router": router.version, "try_again_every": RETRY_SECONDS}
                logger.error("router_paused", extra=extra)
            raise
        except Exception:
            self._was_in_time(pause, router)
            raise
        self._was_in_time(pause, router)
        if decision.model not in self._usable:
            raise RouterError(
                f"router {router.version} chose {decision.model}, which has no address in models"
            )
        return decision

    def _was_in_time(self, pause: Pause, router: Router) -> None:
        if pause.worked():
            logger.warning("router_asked_again", extra={"router": router.version})

    def _default(self, reason: str, version: str | None = None) -> Decision:
        return Decision(self._routing.default_model, GENERAL, UNSURE, reason, version)
