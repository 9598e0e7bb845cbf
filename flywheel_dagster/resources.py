"""The resource that assets, checks and sensors share: the configuration and the data folder.

The only other resource is the `Craft` of routers, see `definitions.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

from flywheel_core.config import Config
from flywheel_core.lake.layout import Layout


@dataclass(frozen=True)
class DayReport:
    """How one day of a run went.

    assets: what was to be made; done: days of the run that are through, this one included; total: days of the
    run; seconds: wall time, >= 0; failures: what went wrong, in words, empty when all is well.
    """

    day: date
    assets: tuple[str, ...]
    done: int
    total: int
    seconds: float
    failures: tuple[str, ...]


def _nobody(_: DayReport) -> None:
    """Ignore the report: nobody follows the days of this run."""


@dataclass(frozen=True)
class Lake:
    """The configuration in force and the data folder that it names.

    on_day: called with a report as each day ends; the command line shows its progress with it.
    """

    config: Config
    on_day: Callable[[DayReport], None] = field(default=_nobody)

    @cached_property
    def layout(self) -> Layout:
        """The layout of the data folder."""
        return Layout(self.config.storage.data_dir)
