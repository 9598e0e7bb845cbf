"""Injected faults: what goes wrong, how often, and how often it has."""

import math
from typing import Annotated

import msgspec

from flywheel_core.errors import UsageError
from simulation.seeded import generator

Rate = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=3600.0)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0.0, le=600_000.0)]

_CHAT = ("error", "rate_limit", "hang", "cut", "malformed", "empty")
_SCORE = ("score_error", "score_malformed", "score_invalid")


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which share of the calls goes wrong, and how.

    Rates are in 0..1; those of one endpoint sum to at most 1.
    """

    error_rate: Rate = 0.0
    """chat: answered with `error_status` and a JSON error body"""
    error_status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 500
    """HTTP status of `error_rate`"""
    rate_limit_rate: Rate = 0.0
    """chat: answered with 429 and Retry-After"""
    retry_after_s: Seconds = 1.0
    """seconds in Retry-After, rounded up to whole ones"""
    hang_rate: Rate = 0.0
    """chat: silent for `hang_s` before the answer comes"""
    hang_s: Seconds = 60.0
    """seconds of silence, whatever the speed"""
    cut_rate: Rate = 0.0
    """chat: the connection is closed in the middle of the answer"""
    malformed_rate: Rate = 0.0
    """chat: status 200 with a body that is not a chat completion, in four variants in turn"""
    empty_rate: Rate = 0.0
    """chat: a proper answer with empty content"""
    models: tuple[str, ...] = ()
    """only calls of these models go wrong; empty: all"""
    score_delay_ms: Milliseconds = 0.0
    """evaluate: milliseconds of waiting before each score, whatever the speed"""
    score_error_rate: Rate = 0.0
    """evaluate: answered with 500"""
    score_malformed_rate: Rate = 0.0
    """evaluate: status 200 without a usable score, in five variants in turn"""
    score_invalid_rate: Rate = 0.0
    """evaluate: a score of -1 for an answer that has a score"""

    def __post_init__(self) -> None:
        for address, names in (("chat", _CHAT), ("evaluate", _SCORE)):
            total = sum(getattr(self, f"{name}_rate") for name in names)
            if total > 1.0 + 1e-9:
                raise ValueError(
                    f"the rates of {address} add up to {total:g}; they are shares of its calls and add up to at most 1"
                )


class Injector:
    """Decides for every call what goes wrong, in a sequence fixed by the seed, and counts it."""

    def __init__(self, faults: Faults | None = None, seed: int = 0) -> None:
        self.faults = faults or Faults()
        self.counts = dict.fromkeys((*_CHAT, *_SCORE), 0)
        self._rng = generator("faults", seed)

    def for_chat(self, model: str) -> str | None:
        """Return `error`, `rate_limit`, `hang`, `cut`, `malformed`, `empty`, or None for no fault."""
        if self.faults.models and model not in self.faults.models:
            return None
        return self._draw(_CHAT)

    def for_score(self) -> str | None:
        """Return `score_error`, `score_malformed`, `score_invalid`, or None for no fault."""
        return self._draw(_SCORE)

    @property
    def retry_after(self) -> str:
        """The value of the Retry-After header: whole seconds, rounded up."""
        return str(math.ceil(self.faults.retry_after_s))

    def _draw(self, names: tuple[str, ...]) -> str | None:
        mark = self._rng.random()
        for name in names:
            mark -= getattr(self.faults, f"{name}_rate")
            if mark < 0:
                self.counts[name] += 1
                return name
        return None


def parse_faults(body: bytes | dict[str, object]) -> Faults:
    """Return the `Faults` in JSON or in an object; faults that are not named are off.

    Raises `UsageError` that names the field and its range; its hint lists the known fields.
    """
    try:
        return (
            msgspec.json.decode(body, type=Faults)
            if isinstance(body, bytes)
            else msgspec.convert(body, Faults)
        )
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        known = ", ".join(Faults.__struct_fields__)
        raise UsageError(f"the faults are not usable: {error}", hint=f"known fields: {known}") from error
