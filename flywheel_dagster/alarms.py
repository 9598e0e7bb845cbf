"""Posts what failed to a webhook. When it does is in `sensors.py`."""

import time
from typing import Any

import httpx

from flywheel_core.errors import UpstreamError

TIMEOUT = 10.0
"""Time for one attempt, in s."""
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
            answer = httpx.post(address, json=body, timeout=TIMEOUT)
        except httpx.HTTPError as error:
            trouble = f"there was no answer ({type(error).__name__})"
            continue
        except httpx.InvalidURL:
            trouble = "its address is no URL"
            break
        if answer.is_success:
            return
        trouble = f"it answered {answer.status_code}"
        if answer.status_code < 500:
            break
    raise UpstreamError(
        f"the failure webhook did not take the alarm of run {body.get('run_id')}: {trouble}",
        hint="check the address in the environment variable that operations.failure_webhook_env names",
    )
