"""Logs a lasting problem when it begins and when it ends, not every time it occurs."""

import logging
from typing import Any


class Trouble:
    """One kind of problem, reported to `log`."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._lasts = False

    def met(self, event: str, *, extra: dict[str, Any] | None = None) -> None:
        """Record that the problem is present; log an error unless it was present already."""
        if not self._lasts:
            self._log.error(event, extra=extra)
        self._lasts = True

    def gone(self, event: str, *, extra: dict[str, Any] | None = None) -> None:
        """Record that the problem is absent; log it if the problem was present.

        The level is warning, so that a log that leaves out information shows the end as well as the beginning.
        """
        if self._lasts:
            self._log.warning(event, extra=extra)
        self._lasts = False
