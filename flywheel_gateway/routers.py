"""The trained router in this process: follows the champion in the data folder and decides with it.

A look costs one `stat` and happens in a thread, twice a second; verifying and loading happen there too, so that requests
go on meanwhile. The libraries that routers need are imported with the first one: a gateway without a router does without.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flywheel_core.lake.layout import Layout
from flywheel_core.learn.route import RouterWatch
from flywheel_gateway.routing import Decider, Decision, Router

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5


class Follower:
    """Keeps a gateway's decider on the champion. decider: gives the one in force."""

    def __init__(self, layout: Layout, decider: Callable[[], Decider]) -> None:
        self._decider = decider
        self.watch = RouterWatch[Router](layout, load_trained)

    async def look(self) -> None:
        """Take up what is in service now. A changed configuration brings a new decider, which gets the router too."""
        await asyncio.to_thread(self.watch.poll)
        in_force = self.watch.in_force
        if in_force is not None and self._decider().router is not in_force.router:
            self._decider().take_up(in_force.router)

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception:
                logger.exception("router_not_followed")

    def state(self) -> dict[str, Any]:
        """For /ready: the version in force, and what is refused and why, if anything is."""
        in_force, refusal = self.watch.in_force, self.watch.refusal
        refused = refusal and {
            "router_version": refusal.version,
            "code": refusal.code,
            "message": refusal.message,
        }
        return {
            "router_version": in_force.champion.version if in_force else None,
            "router_refused": refused,
        }

    def counts(self) -> Mapping[str, float]:
        """For /metrics."""
        in_force, refusal = self.watch.in_force, self.watch.refusal
        return {
            "flywheel_gateway_routers_taken_up_total": self.watch.taken_up,
            "flywheel_gateway_routers_refused_total": self.watch.refused,
            "flywheel_gateway_router_refused": int(refusal is not None),
            "flywheel_gateway_router_promotion": in_force.champion.sequence if in_force else 0,
        }


class Trained:
    """A trained router as the gateway asks it."""

    def __init__(self, router: Any) -> None:
        self._router = router
        self.version: str = router.version

    def decide(self, prompt: str) -> Decision:
        """The decision for one prompt text."""
        made = self._router.decide(prompt)
        return Decision(
            made.model, made.category, made.confidence, made.reason, made.router_version, made.scores
        )


def load_trained(folder: Path) -> Router:
    """The router in a folder, verified and tried. Raises RouterError when it is not whole."""
    from flywheel_core.learn.artefact import load_router

    return Trained(load_router(folder))
