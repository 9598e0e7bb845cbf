"""Whether to ask a router at all: one that keeps taking too long would make every prompt wait for the time limit.

After MOST_LATE decisions in a row that came too late the router rests. Prompts then go to the default model at
once, but for one every REST_SECONDS, which tries whether the router is fast again.
"""

import logging
import time
from collections.abc import Callable

from flywheel_core.trouble import Trouble

logger = logging.getLogger(__name__)

MOST_LATE = 3
REST_SECONDS = 10.0


class Patience:
    """What the gateway has left for one router. clock: returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._late = 0
        self._next_try = 0.0
        self._trouble = Trouble(logger)

    @property
    def over(self) -> bool:
        """Whether the router rests."""
        return self._late >= MOST_LATE

    def allows(self) -> bool:
        """Return whether to ask the router about this prompt; while it rests, a True starts the next rest."""
        if not self.over:
            return True
        now = self._clock()
        if now < self._next_try:
            return False
        self._next_try = now + REST_SECONDS
        return True

    def was_late(self, version: str) -> None:
        """Record a decision that took too long."""
        self._late += 1
        if self._late == MOST_LATE:
            self._next_try = self._clock() + REST_SECONDS
            self._trouble.met("router_paused", extra={"router": version, "try_again_every": REST_SECONDS})

    def was_in_time(self, version: str) -> None:
        """Record a decision, or a failure, that came in time."""
        self._late = 0
        self._trouble.gone("router_asked_again", extra={"router": version})
