"""How a failed run says why: in Flywheel's own words, ahead of any stack trace.

`sensors.py` decides who is told.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from flywheel_core.errors import FlywheelError


def in_words(error: Exception) -> str:
    """Return an error as one line.

    An error that is not Flywheel's may quote data, so only its type is shown outside the log.
    """
    if isinstance(error, FlywheelError):
        return f"{error.code}: {'; '.join(line.strip() for line in str(error).splitlines() if line.strip())}"
    return f"{type(error).__name__}; the run's log has the details"


@contextmanager
def said_first(asset: str) -> Iterator[None]:
    """Make the message and hint of a Flywheel error the first line of the run's failure.

    Otherwise Dagster's page says only "an error occurred while executing op", with the message behind "View
    full message". Raises dagster.Failure in place of a FlywheelError.
    """
    try:
        yield
    except FlywheelError as error:
        raise dg.Failure(f"{asset}: {in_words(error)}", allow_retries=False) from error
