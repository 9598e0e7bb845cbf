"""What assets, checks and sensors work with: the configuration and the data folder. Nothing else is a resource."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

from flywheel_core.config import Config
from flywheel_core.lake.layout import Layout


@dataclass(frozen=True)
class DayReport:
    """How one day of a run went.

    assets: what was to be made; done, total: days of the run, this one included; seconds: wall time, >= 0; failures:
    what went wrong, in words, empty when all is well.
    """

    day: date
    assets: tuple[str, ...]
    done: int
    total: int
    seconds: float
    failures: tuple[str, ...]


def _nobody(_: DayReport) -> None:
    """Nobody follows the days of this run."""


@dataclass(frozen=True)
class Lake:
    """The configuration in force and the data folder it names.

    `on_day` hears of each day as soon as it is through; a command line shows its progress with it.
    """

    config: Config
    on_day: Callable[[DayReport], None] = field(default=_nobody)

    @cached_property
    def layout(self) -> Layout:
        """Where everything lies."""
        return Layout(self.config.storage.data_dir)
