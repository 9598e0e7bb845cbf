"""Which models keep failing: clients that left the choice to the gateway do not wait for them, if another can answer."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from flywheel_gateway.pause import Pause

logger = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
"""Seconds between two requests that try a paused model: each may wait for all of `models.<name>.timeout`."""

PAUSED = "paused: it failed time and again"
"""Why a model was not asked, in the form of a failure."""


class _Named(Protocol):
    @property
    def name(self) -> str:
        """A model's name."""


_Target = TypeVar("_Target", bound=_Named)


class FailingModels:
    """Counts the failures in a row of each model. clock: returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._pauses: defaultdict[str, Pause] = defaultdict(lambda: Pause(RETRY_SECONDS, clock))

    def order(self, targets: Sequence[_Target]) -> list[_Target]:
        """Return the models to try in another order: paused ones last, unless the first one's turn for a try has come."""
        for first in targets:
            if self._pauses[first.name].allows():
                others = [target for target in targets if target is not first]
                return [first, *sorted(others, key=lambda target: self._pauses[target.name].on)]
        return list(targets)

    def note(self, failed: Mapping[str, str], served: str | None) -> None:
        """Record how a request went. failed: model -> why it could not answer; served: the model that answered.

        A model's refusal of a request is neither: what stands before a model that is down may refuse, too.
        """
        for model, reason in failed.items():
            if reason != PAUSED and self._pauses[model].failed():
                extra = {"model": model, "reason": reason, "try_again_every": RETRY_SECONDS}
                logger.error("model_paused", extra=extra)
        if served is not None and served not in failed and self._pauses[served].worked():
            logger.warning("model_asked_again", extra={"model": served})
