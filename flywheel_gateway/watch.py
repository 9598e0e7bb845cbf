"""Notice that a file was changed, replaced or created, by checking it every LOOK_SECONDS."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from flywheel_core.errors import FlywheelError
from flywheel_core.lake.atomic import Mark, mark_of

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.4


async def watch_file(path: Path, changed: Callable[[], Awaitable[None]], known: Mark) -> None:
    """Call `changed` after each change of `path`, until cancelled.

    known: its `mark_of` when it was last read. A file that is being written is left alone until two checks in
    a row find the same. If `changed` refuses by raising, or the file is gone, this is logged, and `changed`
    is called again only after the next change.
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
