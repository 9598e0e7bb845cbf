"""Calls that are tried again: what may be, when, and how many of all calls at most."""

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
"""Longest wait before the first retry, in s; it doubles with each."""
LONGEST_DELAY = 5.0

_RANDOM = random.SystemRandom()


class RetryBudget:
    """A bucket of retries: every first call puts `share` of one in, every retry takes one out.

    It starts with two, so that a quiet caller can retry at all, and holds at most a hundred, so that a long calm
    does not pay for a storm.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self._tokens = 2.0 if share > 0 else 0.0

    def called(self) -> None:
        """Count a first call."""
        self._tokens = min(self._tokens + self.share, 100.0)

    def take(self) -> bool:
        """Whether one more retry is allowed; if so it is counted."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a call ended after its last try: `reply`, or `error`. seconds: what the last try took."""

    reply: Reply | None
    error: Exception | None
    seconds: float


def full_jitter(retry: int, first: float = FIRST_DELAY, longest: float = LONGEST_DELAY) -> float:
    """A wait in s before the `retry`-th retry (from 0): anything from 0 to a bound that doubles each time."""
    return _RANDOM.uniform(0.0, min(longest, first * 2.0 ** min(retry, 30)))


def retry_after(reply: Reply | None) -> float:
    """The seconds that a reply's Retry-After header asks to wait, 0 without one; takes seconds and dates."""
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
        moment = moment.replace(tzinfo=UTC)  # dates of HTTP are in GMT, said or not
    return max(0.0, moment.timestamp() - time.time())


def is_temporary(reply: Reply | None, error: Exception | None) -> bool:
    """Whether trying again may help: 429, 5xx, or a connection that failed or broke. Never another 4xx."""
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
    """POST, and again after a temporary failure, as long as budget and time allow.

    call_timeout: time for one try, in s. ends: the loop's time when everything is over. Retry-After is kept to; a
    wait that would not end in time is not begun. Raises only what is no failure of the call, such as cancellation.
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
