"""Trouble that lasts: the log tells when it begins and when it is over, not every time that it is met."""

import logging
from typing import Any


class Trouble:
    """One kind of trouble. log: where it is told."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._lasts = False

    def met(self, message: str, *args: object, extra: dict[str, Any] | None = None) -> None:
        """It is there; told as an error unless it was there before."""
        if not self._lasts:
            self._log.error(message, *args, extra=extra)
        self._lasts = True

    def gone(self, message: str, *args: object, extra: dict[str, Any] | None = None) -> None:
        """It is not there; told as a warning, by which it can be found beside its beginning, if it was there before."""
        if self._lasts:
            self._log.warning(message, *args, extra=extra)
        self._lasts = False
