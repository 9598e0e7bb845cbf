"""Retry calls: which failures are retried, when, and how many retries there may be."""

import asyncio
import email.utils
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC

import httpx

from flywheel_core.collect.http import Endpoint, Http, Reply
from flywheel_core.errors import UpstreamError

MAX_ATTEMPTS = 4
FIRST_DELAY = 0.25
"""Longest wait before the first retry, in seconds; it doubles with every retry."""
LONGEST_DELAY = 5.0

_RANDOM = random.SystemRandom()


class RetryBudget:
    """A token bucket for retries: every first call adds `share` of a token, every retry takes one.

    It starts with two tokens so that a rare caller can retry at all, and holds at most a hundred so that a
    long quiet period does not allow a burst of retries.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self._tokens = 2.0 if share > 0 else 0.0

    def called(self) -> None:
        """Count a first call."""
        self._tokens = min(self._tokens + self.share, 100.0)

    def take(self) -> bool:
        """Take a token; return whether there was one, that is, whether a retry is allowed."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of a call's last try: `reply` or `error`. seconds: duration of that try alone."""

    reply: Reply | None
    error: Exception | None
    seconds: float


def full_jitter(retry: int, first: float = FIRST_DELAY, longest: float = LONGEST_DELAY) -> float:
    """Return a random wait in seconds before retry number `retry` (from 0), below a bound that doubles."""
    return _RANDOM.uniform(0.0, min(longest, first * 2.0 ** min(retry, 30)))


def retry_after(reply: Reply | None) -> float:
    """Return the seconds that a Retry-After header asks to wait, in either of its forms; 0 without one."""
    text = "" if reply is None else reply.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text[:9])
    if not text:
        return 0.0
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)  # HTTP dates are always in GMT
    return max(0.0, moment.timestamp() - time.time())


def is_temporary(reply: Reply | None, error: Exception | None) -> bool:
    """Return whether a retry may help: 429, 5xx, or a connection that failed or broke; never another 4xx."""
    if reply is not None:
        return reply.status == 429 or reply.status >= 500
    return isinstance(error, httpx.ConnectTimeout | httpx.NetworkError | httpx.RemoteProtocolError)


async def post_with_retries(
    http: Http,
    endpoint: Endpoint,
    body: bytes,
    *,
    call_timeout: float,
    ends: float,
    max_bytes: int,
    budget: RetryBudget,
    on_retry: Callable[[], None],
) -> Attempt:
    """POST, and retry temporary failures as long as budget and time allow.

    call_timeout: for one try, in seconds; ends: the event loop's time by which everything must be over.
    Retry-After is respected; a wait that would not end in time is not started. Raises only what is not a
    failure of the call, such as cancellation.
    """
    loop = asyncio.get_running_loop()
    budget.called()
    for retry in range(MAX_ATTEMPTS):
        began = loop.time()
        reply, error = None, None
        try:
            reply = await http.post(
                endpoint, body, timeout=max(0.001, min(call_timeout, ends - began)), max_bytes=max_bytes
            )
        except (httpx.HTTPError, UpstreamError) as failure:
            error = failure
        attempt = Attempt(reply, error, loop.time() - began)
        if retry + 1 == MAX_ATTEMPTS or not is_temporary(reply, error):
            break
        asked = retry_after(reply)
        wait = asked + full_jitter(retry)
        if loop.time() + wait >= ends or not budget.take():
            break
        on_retry()
        await asyncio.sleep(wait)
    return attempt
