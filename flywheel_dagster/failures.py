"""How a failed run says why: in Flywheel's own words, in front of every stack trace. Who is told is in `sensors.py`."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from flywheel_core.errors import FlywheelError


def in_words(error: Exception) -> str:
    """An error in one line. A foreign error may quote the data it met, so only its type leaves the log."""
    if isinstance(error, FlywheelError):
        return f"{error.code}: {'; '.join(line.strip() for line in str(error).splitlines() if line.strip())}"
    return f"{type(error).__name__}; the run's log has the details"


@contextmanager
def said_first(asset: str) -> Iterator[None]:
    """An error of Flywheel's fails the asset with its message and what to do as the first line of the run's failure.

    Dagster's page shows otherwise that "an error occurred while executing op", and the words only behind "View full message".
    """
    try:
        yield
    except FlywheelError as error:
        raise dg.Failure(f"{asset}: {in_words(error)}", allow_retries=False) from error
