"""Posts what failed to a webhook. When it does is in `sensors.py`."""

import asyncio
import time
from typing import Any

import httpx

from flywheel_core.errors import UpstreamError

TIMEOUT = 10.0
"""Time for one attempt, however slowly the answer comes, in s."""
ATTEMPTS = 2
PAUSE = 1.0
"""Time between attempts, in s; all attempts together stay within a sensor's 60 s."""


def post_alarm(address: str, body: dict[str, Any]) -> None:
    """POST `body` as JSON and return once it was taken (2xx).

    Tries again when nothing was answered or the answer is 5xx. Raises UpstreamError, which does not name the address: it
    is a secret.
    """
    trouble = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE)
        try:
            status = asyncio.run(_status_of(address, body))
        except (httpx.HTTPError, TimeoutError) as error:
            trouble = f"there was no answer ({type(error).__name__})"
            continue
        except httpx.InvalidURL:
            trouble = "its address is not a URL"
            break
        if 200 <= status < 300:
            return
        trouble = f"it answered {status}"
        if status < 500:
            break
    raise UpstreamError(
        f"the failure webhook did not accept the alarm of run {body.get('run_id')}: {trouble}",
        hint="check the address in the environment variable that operations.failure_webhook_env names",
    )


async def _status_of(address: str, body: dict[str, Any]) -> int:
    """What a POST is answered with. Nobody waits for the rest: an answer that never ends would hold the sensor beyond its time, and
    Dagster would have the same alarm posted again and again. Raises httpx.HTTPError and TimeoutError."""
    async with (
        asyncio.timeout(TIMEOUT),
        httpx.AsyncClient(timeout=TIMEOUT) as client,
        client.stream("POST", address, json=body) as answer,
    ):
        return answer.status_code
