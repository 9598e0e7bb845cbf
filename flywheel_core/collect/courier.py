"""Send lines until the collector has settled each one or asks to wait; keep track of that wait."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from flywheel_core.collect.delivery import Verdict, deliver, keep_rejected
from flywheel_core.collect.http import Endpoint, Http
from flywheel_core.collect.retries import full_jitter

FIRST_DELAY, LONGEST_DELAY = 0.5, 15.0
"""Longest random wait after the first failed upload, and after any, in seconds; see `full_jitter`."""

LONGEST_ASKED = 3_600.0
"""Longest wait in seconds accepted from a Retry-After: one that asks for years must not end uploading."""

BATCH_BYTES = 2_097_152
"""Bytes of a batch beyond which it gets no further point."""

MOST_POINTS = 1_000
"""Most lines in a request, while none takes too long."""

_TOO_SLOW = ("ReadTimeout", "WriteTimeout", "status 408")
"""Kinds of failure after which fewer points at once may get through, as over a slow line."""

log = logging.getLogger(__name__)

Settle = Callable[[int, int], Awaitable[None]]
"""Called with the number of lines settled, counted from the first, and how many of them were rejected."""


class Courier:
    """The way to the collector, shared by all senders of an uploader.

    rejected_file: keeps the points that the collector rejects, with its reply; on_change: called when `wait`
    may have changed; stopped: whether `stop` was called; uploads: number of requests sent; failed: number of
    those that failed, by reason.
    """

    def __init__(
        self, http: Http, endpoint: Endpoint, rejected_file: Path, on_change: Callable[[], None]
    ) -> None:
        self._http = http
        self._endpoint = endpoint
        self._rejected_file = rejected_file
        self._keeping = asyncio.Lock()
        self._on_change = on_change
        self._posts: set[asyncio.Task[Verdict]] = set()
        self.stopped = False
        self._most = MOST_POINTS
        self._failures = 0
        self._not_before = 0.0
        self._away_for: str | None = None
        self.uploads = 0
        self.failed: Counter[str] = Counter()

    @property
    def away(self) -> bool:
        """Whether the last upload failed."""
        return self._away_for is not None

    @property
    def wait(self) -> float:
        """Seconds until the collector may be called again; 0 if it may be called now."""
        return max(0.0, self._not_before - asyncio.get_running_loop().time())

    async def deliver(self, lines: Sequence[bytes], settle: Settle) -> bool:
        """Send lines in order until all are settled; return False if the collector asks to wait.

        A batch that is refused as a whole is halved until it is accepted or the single faulty point is found. After
        one that took too long, requests are half as large, and grow again with each that is taken.
        """
        done, size = 0, len(lines)
        while done < len(lines):
            batch = lines[done : done + min(size, self._most)]
            verdict = await self._post(batch)
            if verdict.kind == "smaller":
                size = max(1, len(batch) // 2)
                continue
            if verdict.kind == "taken" and verdict.rejected:
                verdict = await self._set_aside(batch, verdict)
            if verdict.kind == "later":
                self._note_failure(verdict, len(batch))
                return False
            self._note_success()
            await settle(len(batch), len(verdict.rejected))
            done += len(batch)
            self._on_change()
        return True

    def stop(self) -> None:
        """Cancel the uploads in progress: their points count as not delivered."""
        self.stopped = True
        for post in self._posts:
            post.cancel()

    async def _post(self, batch: Sequence[bytes]) -> Verdict:
        if self.stopped:
            return Verdict("later", reason="closing")
        self.uploads += 1
        post = asyncio.create_task(deliver(self._http, self._endpoint, batch))
        self._posts.add(post)
        try:
            return await post
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return Verdict("later", reason="closing")
        finally:
            self._posts.discard(post)

    async def _set_aside(self, batch: Sequence[bytes], verdict: Verdict) -> Verdict:
        """Save rejected points with the collector's reply; if that fails, nothing counts as settled."""
        try:
            async with self._keeping:
                await asyncio.to_thread(keep_rejected, self._rejected_file, batch, verdict.rejected)
        except OSError as error:
            return Verdict("later", reason=f"cannot keep rejected points: {error}")
        first = verdict.rejected[0].code
        extra = {"points": len(verdict.rejected), "first": first, "file": str(self._rejected_file)}
        log.error("points_rejected", extra=extra)
        return verdict

    def _note_failure(self, verdict: Verdict, sent: int) -> None:
        if self.stopped:
            return
        kind = verdict.reason.partition(":")[0]
        self.failed[kind] += 1
        if kind != self._away_for:  # a collector that was down may come back and refuse the key
            log.warning("collector_away", extra={"reason": verdict.reason})
        self._away_for = kind
        if kind in _TOO_SLOW:
            self._most = max(1, sent // 2)
        wait = min(verdict.wait, LONGEST_ASKED) + full_jitter(self._failures, FIRST_DELAY, LONGEST_DELAY)
        self._failures += 1
        self._not_before = asyncio.get_running_loop().time() + wait
        self._on_change()

    def _note_success(self) -> None:
        if self.away:
            log.warning("collector_back")
        self._away_for = None
        self._failures = 0
        self._most = min(self._most + self._most // 10 + 1, MOST_POINTS)
