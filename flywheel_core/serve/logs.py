"""JSON logs on standard error: one object per line, a stable event name, never a prompt or a key."""

import logging
import sys
import time

from pythonjsonlogger.json import JsonFormatter

_FIELDS = "{asctime}{levelname}{name}{message}"


def log_as_json() -> None:
    """Send all logs of this process to standard error as JSON.

    Each line has `time`, `level`, `logger`, `event` and the extra fields of the record.
    """
    handler = logging.StreamHandler(sys.stderr)
    formatter = JsonFormatter(
        _FIELDS,
        style="{",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger", "message": "event"},
    )
    formatter.default_time_format = "%Y-%m-%dT%H:%M:%S"
    formatter.default_msec_format = "%s.%03dZ"
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
