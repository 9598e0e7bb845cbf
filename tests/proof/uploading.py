"""A process to kill: it offers data points to an uploader endlessly, and prints the ids of those in its spool.

`python -m tests.proof.uploading SPOOL COLLECTOR NAME` prints an empty line once it has started, and then a line for every
addition to the spool, with the ids of its data points, once they are on disk.
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from flywheel_core.collect import Uploader
from flywheel_core.collect.spool import Spool
from flywheel_core.config import Config
from flywheel_core.records import DataPoint, Response

PAUSE = 0.03
"""The pause after every ten data points, in s."""


class TellingSpool(Spool):
    """The spool, which prints the ids of data points once they are on disk."""

    def append(self, lines: Sequence[bytes]) -> int:
        count = super().append(lines)
        ids = " ".join(json.loads(line)["id"] for line in lines[:count])
        os.write(1, f"{ids}\n".encode())
        return count


async def main(spool: Path, collector: str, name: str) -> None:
    config = Config.model_validate(
        {"data_collection": {"storage_endpoint": collector, "training": {"flush_interval": 0.1}}}
    )
    uploader = Uploader(config, spool)
    uploader._spooler._spool = TellingSpool(spool, config.data_collection.spool_max_bytes)
    await uploader.start()
    os.write(1, b"\n")
    number = 0
    while True:
        for _ in range(10):
            question = f"question {name}-{number}"
            responses = {model: Response(model, f"answer of {model}") for model in ("big", "coder")}
            scores: dict[str, float | None] = {"big": 0.9, "coder": 0.25}
            await uploader.offer(DataPoint(f"{name}-{number}", question, responses, scores, 1_767_225_600))
            number += 1
        await asyncio.sleep(PAUSE)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
