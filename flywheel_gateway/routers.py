"""Follow the champion in the data folder, and decide with that router.

A check costs one `stat` and happens twice a second in a thread. A new router is verified and loaded in that
thread too, so that requests are served in the meantime. The libraries that routers need are imported with the
first router: a gateway without one does not load them.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flywheel_core.lake.layout import Layout
from flywheel_core.learn.route import RouterWatch
from flywheel_gateway.routing import Decider, Router

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5


class Follower:
    """Keeps a gateway's decider on the champion. decider: returns the current decider."""

    def __init__(self, layout: Layout, decider: Callable[[], Decider]) -> None:
        self._decider = decider
        self.watch = RouterWatch[Router](layout, load_trained)

    async def look(self) -> None:
        """Switch to the champion.

        A changed configuration creates a new decider, which is given the router as well.
        """
        await asyncio.to_thread(self.watch.poll)
        in_force = self.watch.in_force
        if in_force is not None and self._decider().router is not in_force.router:
            self._decider().take_up(in_force.router)

    async def follow(self) -> None:
        """Check for a new champion every LOOK_SECONDS, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception:
                logger.exception("router_not_followed")

    def state(self) -> dict[str, Any]:
        """Return the state for /ready: the version in service, whether its asking is paused, and the refused one and why."""
        in_force, refusal = self.watch.in_force, self.watch.refusal
        refused = refusal and {
            "router_version": refusal.version,
            "code": refusal.code,
            "message": refusal.message,
        }
        return {
            "router_version": in_force.champion.version if in_force else None,
            "router_paused": self._decider().paused,
            "router_refused": refused,
        }

    def counts(self) -> Mapping[str, float]:
        """Return the router's counts for /metrics."""
        in_force, refusal = self.watch.in_force, self.watch.refusal
        return {
            "flywheel_gateway_routers_taken_up_total": self.watch.taken_up,
            "flywheel_gateway_routers_refused_total": self.watch.refused,
            "flywheel_gateway_router_refused": int(refusal is not None),
            "flywheel_gateway_router_paused": int(self._decider().paused),
            "flywheel_gateway_router_promotion": in_force.champion.sequence if in_force else 0,
        }


def load_trained(folder: Path) -> Router:
    """Return the router in a folder, verified and tried out. Raises RouterError when it is damaged."""
    from flywheel_core.learn.artefact import load_router

    return load_router(folder)
