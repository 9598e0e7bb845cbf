"""Helpers of the fan-out tests: run a test within an outside world, and a request body to send."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.core.collect.outside import Outside


def run(act: Callable[[Outside], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Outside() as world:
            await act(world)

    asyncio.run(main())


BODY = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}],
    "temperature": 0.2,
    "max_tokens": 50,
    "model": "auto",
    "stream": True,
    "stream_options": {"include_usage": True},
}
