"""When something that keeps failing is asked: otherwise every request would wait for it.

After MOST_IN_A_ROW failures in a row there is a pause. During it, one request at a time tries whether it works again.
"""

import time
from collections.abc import Callable

MOST_IN_A_ROW = 3


class Pause:
    """Counts failures in a row of one router or model. seconds: between two tries in a pause; clock: returns seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._failures = 0
        self._next_try = 0.0

    @property
    def on(self) -> bool:
        """Whether there is a pause."""
        return self._failures >= MOST_IN_A_ROW

    def allows(self) -> bool:
        """Return whether to ask for this request; during a pause, for one in the given seconds."""
        if not self.on:
            return True
        now = self._clock()
        if now < self._next_try:
            return False
        self._next_try = now + self._seconds
        return True

    def failed(self) -> bool:
        """Record a failure, and return whether a pause begins with it."""
        self._failures += 1
        begins = self._failures == MOST_IN_A_ROW
        if begins:
            self._next_try = self._clock() + self._seconds
        return begins

    def worked(self) -> bool:
        """Record a success, and return whether it ends a pause."""
        ends = self.on
        self._failures = 0
        return ends
