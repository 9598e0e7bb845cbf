"""When a router that keeps taking too long is asked: otherwise every prompt would wait for the time limit.

After MOST_LATE decisions in a row that came too late there is a pause. Prompts then go to the default model at
once, but for one every RETRY_SECONDS, which tries whether the router is fast again.
"""

import logging
import time
from collections.abc import Callable

from flywheel_core.trouble import Trouble

logger = logging.getLogger(__name__)

MOST_LATE = 3
RETRY_SECONDS = 10.0


class Pause:
    """Counts the late decisions of one router. clock: returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._late = 0
        self._next_try = 0.0
        self._trouble = Trouble(logger)

    @property
    def on(self) -> bool:
        """Whether there is a pause."""
        return self._late >= MOST_LATE

    def allows(self) -> bool:
        """Return whether to ask the router about this prompt; during a pause, at most every RETRY_SECONDS."""
        if not self.on:
            return True
        now = self._clock()
        if now < self._next_try:
            return False
        self._next_try = now + RETRY_SECONDS
        return True

    def was_late(self, version: str) -> None:
        """Record a decision that took too long."""
        self._late += 1
        if self._late == MOST_LATE:
            self._next_try = self._clock() + RETRY_SECONDS
            self._trouble.met("router_paused", extra={"router": version, "try_again_every": RETRY_SECONDS})

    def was_in_time(self, version: str) -> None:
        """Record a decision, or a failure, that came in time."""
        self._late = 0
        self._trouble.gone("router_asked_again", extra={"router": version})
