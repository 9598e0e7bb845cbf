"""Assemble and run one collector process."""

import gc
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from collector_api.app import CollectorApp
from collector_api.collect import Collect
from collector_api.commits import Committer
from collector_api.metrics import CollectorMetrics
from collector_api.uploads import uploading
from flywheel_core.config import Config
from flywheel_core.errors import UsageError
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.lock import only_one
from flywheel_core.serve.access import Access
from flywheel_core.serve.keys import KeyStore
from flywheel_core.serve.lifecycle import serve
from flywheel_core.serve.logs import log_as_json

_SWITCH_SECONDS = 0.0005
"""Longest wait in seconds of the commit thread for the interpreter lock while requests are being decoded.

With Python's default of 5 ms, small points take twice as long.
"""

_WRITER = re.compile(r"(?!-)(?=.*[A-Za-z_-])[A-Za-z0-9_-]{1,64}")
"""Valid writer names.

Digits alone would look like the number of a new file of the day; "-" starts the name that `rescore` uses.
"""


def run(
    config: Config, *, host: str | None = None, port: int | None = None, writer: str | None = None
) -> None:
    """Serve the collector until SIGTERM, SIGINT or SIGHUP; `host` and `port` override the configuration.

    Raises UsageError when the address is reachable from outside without any key, the address or the files are
    already in use, or `writer` is not a valid name; StorageError when the data folder cannot be written or
    its keys not read.
    """
    if writer is not None and not _WRITER.fullmatch(writer):
        raise UsageError(
            f"{writer!r} cannot name a writer",
            hint="use 1 to 64 letters, digits, '_' or '-', not digits alone and not '-' first",
        )
    log_as_json()
    chosen = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = config.collector.model_copy(update=chosen)
    layout = Layout(config.storage.data_dir)
    metrics = CollectorMetrics()
    access = Access(KeyStore(layout.keys), settings.host, allow_anonymous=settings.allow_anonymous)
    lock = layout.raw / (f".collector.{writer}.lock" if writer else ".collector.lock")
    with only_one(
        lock,
        f"another collector writes to {layout.raw}" + (f" as {writer}" if writer else ""),
        "give this one its own name with --writer; the two can then share the folder",
    ):
        committer = Committer(
            layout,
            writer,
            metrics,
            commit_bytes=settings.commit_bytes,
            disk_floor_bytes=config.storage.disk_floor_bytes,
        )
        collect = Collect(settings, access, committer, metrics)
        app = CollectorApp(collect, committer, metrics, settings.max_batch_points)
        serve(
            app,
            settings,
            metrics,
            _committing(committer),
            uploading(collect),
            data_dir=config.storage.data_dir,
        )


@asynccontextmanager
async def _committing(committer: Committer) -> AsyncIterator[None]:
    await committer.start()
    gc.freeze()  # objects from start-up live on: keep the collector from scanning them
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
        await committer.stop()
