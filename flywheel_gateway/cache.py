"""A bounded cache with a time to live, in which concurrent requests for one key share a computation."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class DecisionCache(Generic[Value]):
    """Keeps at most `max_entries` values, each for `ttl` seconds; evicts the least recently used first."""

    def __init__(self, max_entries: int, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_entries = max_entries
        self._ttl = ttl
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[float, Value]] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Future[Value]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, key: bytes, make: Callable[[], Awaitable[Value]]) -> tuple[Value, bool]:
        """Return the value of `key`, and whether it was cached or already being computed for another caller.

        Raises what `make` raises, to every caller that waits for it; a failure is not cached. A waiting
        caller can be cancelled without disturbing the others.
        """
        kept = self._kept.get(key)
        if kept is not None and kept[0] > self._clock():
            self._kept.move_to_end(key)
            return kept[1], True
        under_way = self._under_way.get(key)
        shared = under_way is not None
        if under_way is None:
            under_way = asyncio.ensure_future(self._make(key, make))
            self._under_way[key] = under_way
            under_way.add_done_callback(lambda done: self._made(key, done))
        return await asyncio.shield(under_way), shared

    async def _make(self, key: bytes, make: Callable[[], Awaitable[Value]]) -> Value:
        value = await make()
        self._kept[key] = (self._clock() + self._ttl, value)
        self._kept.move_to_end(key)
        while len(self._kept) > self._max_entries:
            self._kept.popitem(last=False)
        return value

    def _made(self, key: bytes, done: asyncio.Future[Value]) -> None:
        del self._under_way[key]
        if not done.cancelled():
            done.exception()  # callers still get it; this stops asyncio's warning if there are none
