"""Count what collection costs per UTC day, and stop it at a daily limit."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from flywheel_core.config import Model
from flywheel_core.errors import StorageError
from flywheel_core.lake.atomic import write_atomically

SAVE_SECONDS = 10.0
MAX_TOKENS = 1_000_000_000
"""More tokens than any answer takes.

A larger count is an error: it could stop collection for the day, or turn the sum into infinity.
"""

log = logging.getLogger(__name__)


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class _Saved(msgspec.Struct):
    day: int  # since 1970-01-01 UTC
    cost: float


_USAGE = msgspec.json.Decoder(_Usage)


def cost_of(usage: msgspec.Raw, model: Model) -> float | None:
    """Return what an answer costs at the model's prices, or None without plausible token counts."""
    try:
        tokens = _USAGE.decode(usage)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if not (0 <= tokens.prompt_tokens <= MAX_TOKENS and 0 <= tokens.completion_tokens <= MAX_TOKENS):
        return None
    if tokens.prompt_tokens == tokens.completion_tokens == 0:
        return None  # a proxy's zeros for counts that it was not told: every call has tokens
    return (tokens.prompt_tokens * model.input_price + tokens.completion_tokens * model.output_price) / 1e6


class Spend:
    """The cost of the current UTC day, in the currency of the configured prices.

    limit: what a day may cost, None for no limit; file: keeps the count across restarts, None keeps it in
    memory; now: returns unix seconds. Calls in progress when the limit is reached are still made and counted.

    Raises StorageError when `file` cannot be read or was not written by `save`.
    """

    def __init__(
        self, limit: float | None, file: Path | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self.limit = limit
        self._file = file
        self._now = now
        self._day = self._day_now()
        self._cost = 0.0
        self._saved = 0.0
        self._warned_of: tuple[int, float] | None = None
        self._saving = threading.Lock()
        if file is not None:
            self._load(file)

    @property
    def today(self) -> float:
        """What has been spent on the current UTC day."""
        day = self._day_now()
        if day != self._day:
            self._day, self._cost = day, 0.0
        return self._cost

    @property
    def exhausted(self) -> bool:
        """Whether today's limit is reached; a warning says so once per day and limit."""
        return self._limit_reached()

    def add(self, cost: float) -> None:
        """Add a cost to the current day."""
        self._cost = self.today + cost
        self._limit_reached()

    @property
    def unsaved(self) -> bool:
        """Whether there is a file and the count is not what it holds."""
        return self._file is not None and self.today != self._saved

    def save(self) -> None:
        """Write the count to the file, if there is one and the count has changed. Raises StorageError."""
        with self._saving:  # of two at once, the one with the older count must not end last
            if self._file is not None and self.unsaved:
                saved = _Saved(self._day, self._cost)
                write_atomically(self._file, msgspec.json.encode(saved))
                self._saved = saved.cost

    def _limit_reached(self) -> bool:
        if self.limit is None or self.today < self.limit:
            return False
        if self._warned_of != (self._day, self.limit):
            self._warned_of = (self._day, self.limit)
            log.warning("max_cost_per_day_spent", extra={"max_cost_per_day": self.limit})
        return True

    def _load(self, file: Path) -> None:
        try:
            saved = msgspec.json.decode(file.read_bytes(), type=_Saved)
        except (FileNotFoundError, NotADirectoryError):
            return
        except (OSError, msgspec.MsgspecError) as error:
            raise StorageError(
                f"cannot read the spend of collection from {file}: {getattr(error, 'strerror', None) or error}",
                hint="give it to the user that the gateway runs as"
                if isinstance(error, OSError)
                else "remove the file; today's count then starts at 0",
            ) from error
        if saved.day == self._day:
            self._cost = self._saved = saved.cost

    def _day_now(self) -> int:
        return int(self._now() // 86_400)


async def save_until_saved(spend: Spend) -> None:
    """Save the count, and every SAVE_SECONDS again while it changes or could not be written, which is logged."""
    while spend.unsaved:
        try:
            await asyncio.to_thread(spend.save)
        except StorageError as error:
            log.error("spend_not_saved", extra={"reason": error.message})
        await asyncio.sleep(SAVE_SECONDS)
