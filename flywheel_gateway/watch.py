"""Notices that a file was changed, replaced, or came to be, by looking at it twice a second."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from flywheel_core.errors import FlywheelError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.4

Mark = tuple[int, int, int] | None
"""See `mark_of`."""


async def watch_file(path: Path, changed: Callable[[], Awaitable[None]], known: Mark) -> None:
    """Call `changed` after each change of `path`, until cancelled. known: `mark_of` it when it was last read.

    A file that is being written is left alone until it has looked the same twice. What `changed` refuses by raising is
    logged, and so is a file that is gone; the file is looked at again after its next change.
    """
    seen = known
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now = mark_of(path)
        settled, seen = now == seen, now
        if now == known or not settled:
            continue
        known = now
        if now is None:
            logger.warning("file_gone", extra={"file": str(path), "in_force": "what was read from it last"})
            continue
        try:
            await changed()
        except FlywheelError as error:
            logger.error("change_refused", extra={"file": str(path), "reason": str(error)})
        except Exception:
            logger.exception("change_not_taken", extra={"file": str(path)})


def mark_of(path: Path) -> Mark:
    """What changes with every change of a file: time, size and inode; None where there is no file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
