"""Takes up the router in service in a running process; the old one serves until the switch.

The steps are verify, load, try, switch. `RouterWatch.poll` looks at the pointer, which costs one `stat`; a
server calls it about twice a second from a thread. A version that is damaged, half-written or answers
differently than at training is refused, and `refusal` says why. The router in force stays. The refused one is
tried again at growing intervals, until it is whole or another version is promoted.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from flywheel_core.errors import FlywheelError, RouterError
from flywheel_core.lake.atomic import Mark, mark_of, sha256_of
from flywheel_core.lake.layout import Layout
from flywheel_core.learn.champion import MANIFEST, POINTER, Champion, read_champion, version_folder

logger = logging.getLogger(__name__)

FIRST_RETRY = 1.0
LONGEST_RETRY = 30.0
"""Shortest and longest wait, in seconds, before a refused version is tried again.

The wait doubles with each try.
"""

_Router = TypeVar("_Router")


@dataclass(frozen=True)
class InForce(Generic[_Router]):
    """A router and the promotion that put it into service.

    taken_up: when this process took it up, unix seconds.
    """

    router: _Router
    champion: Champion
    taken_up: float


@dataclass(frozen=True)
class Refusal:
    """Why the version that the pointer names was not taken up.

    version: None when the pointer itself cannot be read; at: unix seconds; tries: how often it has been
    refused in a row.
    """

    version: str | None
    code: str
    message: str
    at: float
    tries: int


class RouterWatch(Generic[_Router]):
    """Follows the pointer of one data folder.

    Only one thread at a time may poll; any thread may read the attributes. load: returns the router in a
    folder, or raises RouterError unless it is whole and answers as at training.
    """

    def __init__(
        self,
        layout: Layout,
        load: Callable[[Path], _Router],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._layout = layout
        self._load = load
        self._clock = clock
        self._pointer = layout.routers / POINTER
        self._seen: Mark = None
        self._retry_at: float | None = None
        self._trying: str | None = None
        self.in_force: InForce[_Router] | None = None
        self.refusal: Refusal | None = None
        self.taken_up = 0
        self.refused = 0

    def poll(self) -> InForce[_Router] | None:
        """Take up a router that was just promoted and return it; None when nothing changed or it was refused.

        Never raises because of that router: what is wrong with it is told in `refusal`.
        """
        mark = mark_of(self._pointer)
        due = self._retry_at is not None and self._clock() >= self._retry_at
        if mark == self._seen and not due:
            return None
        self._seen = mark
        try:
            return self._take_up(mark is None)
        except FlywheelError as error:
            self._refuse(error)
        except (OSError, MemoryError) as error:
            self._refuse(RouterError(f"it cannot be loaded: {error}"))
        return None

    def _take_up(self, gone: bool) -> InForce[_Router] | None:
        self._trying = None
        champion = None if gone else read_champion(self._pointer)
        if champion is None:
            if self.in_force is not None:
                raise RouterError(f"{self._pointer} is gone", code="pointer_missing")
            return None
        if self.in_force is not None and self.in_force.champion == champion:
            self._settled()
            return None
        self._trying = champion.version
        folder = version_folder(self._layout, champion.version)
        digest = sha256_of(folder / MANIFEST)
        if digest != champion.digest:
            raise RouterError(
                f"{folder / MANIFEST} is damaged: its SHA-256 is {digest}, it was promoted with {champion.digest}",
                code="router_damaged",
            )
        router = self._load(folder)
        self.in_force = InForce(router, champion, time.time())
        self.taken_up += 1
        self._settled()
        extra = {"router": champion.version, "promotion": champion.sequence}
        logger.info("router_in_service", extra=extra)
        return self.in_force

    def _settled(self) -> None:
        self.refusal = None
        self._retry_at = None

    def _refuse(self, error: FlywheelError) -> None:
        version = self._trying
        again = self.refusal is not None and self.refusal.version == version
        tries = self.refusal.tries + 1 if again and self.refusal else 1
        self.refusal = Refusal(version, error.code, error.message, time.time(), tries)
        self._retry_at = self._clock() + min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(tries - 1, 10))
        self.refused += 1
        kept = self.in_force.champion.version if self.in_force else "none"
        extra = {"router": version or POINTER, "in_service": kept, "reason": error.message}
        logger.error("router_refused", extra=extra)
