"""Wake tasks that wait for something to change, so that each checks again what it waits for."""

import asyncio
import math


class Wakeup:
    """Shared by tasks of one event loop. A wake-up reaches those that wait at that moment, and no later one."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Wake everything that waits."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait(self, seconds: float | None = None) -> None:
        """Wait for the next `wake`, at most `seconds`; None and infinity mean no limit."""
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                await self._changed.wait()
        except TimeoutError:
            return
