"""A process to kill: it offers data points to an uploader endlessly, and prints how many are on disk.

`python -m tests.core.collect.spooling SPOOL COLLECTOR`
"""

import asyncio
import sys
from pathlib import Path

from flywheel_core.collect import Uploader
from flywheel_core.config import Config
from flywheel_core.records import DataPoint, Response


async def main(spool: Path, collector: str) -> None:
    config = Config.model_validate(
        {"data_collection": {"storage_endpoint": collector, "training": {"batch_size": 5}}}
    )
    uploader = Uploader(config, spool)
    await uploader.start()
    said = number = 0
    while True:
        await uploader.offer(DataPoint(f"p{number}", "q", {"m": Response("m", "a")}, {"m": 0.5}, 1))
        number += 1
        await asyncio.sleep(0)
        if uploader.spooled > said:
            said = uploader.spooled
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
