"""Posts alarms about failed runs to a webhook. `sensors.py` decides when."""

import asyncio
import time
from typing import Any

import httpx

from flywheel_core.errors import UpstreamError

TIMEOUT = 10.0
"""Time limit for one attempt, in seconds, however slowly the reply arrives."""
ATTEMPTS = 2
PAUSE = 1.0
"""Pause between attempts, in seconds. All attempts together must stay within a sensor's 60 s."""


def post_alarm(address: str, body: dict[str, Any]) -> None:
    """POST `body` as JSON and return once the webhook has accepted it (2xx).

    Tries again when there is no reply or the status is 5xx. Raises UpstreamError when the alarm is not
    accepted; the error does not name the address, which is a secret.
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
    """Return the status code of a POST without reading the body of the reply.

    A body that never ends would hold the sensor beyond its time limit, and Dagster would have the same alarm
    posted again and again. Raises httpx.HTTPError, httpx.InvalidURL and TimeoutError.
    """
    async with (
        asyncio.timeout(TIMEOUT),
        httpx.AsyncClient(timeout=TIMEOUT) as client,
        client.stream("POST", address, json=body) as answer,
    ):
        return answer.status_code
