"""From a user's request to an uploaded data point: sample, ask every model, score, upload.

    async with Fanout(load_config()) as fanout:
        point = await fanout.collect("Solve x^2 + 2x - 3 = 0")

`sampling` decides whether to collect and which models to ask, `fanout` asks and scores, `upload` sends the
data points to the collector.
"""

from flywheel_core.collect.answer import Answer
from flywheel_core.collect.fanout import Fanout
from flywheel_core.collect.point import Served
from flywheel_core.collect.sampling import MARK_HEADER, Plan, plan_collection
from flywheel_core.collect.scoring import Scored, Scorer
from flywheel_core.collect.stream import StreamReader
from flywheel_core.collect.upload import Uploader

__all__ = [
    "MARK_HEADER",
    "Answer",
    "Fanout",
    "Plan",
    "Scored",
    "Scorer",
    "Served",
    "StreamReader",
    "Uploader",
    "plan_collection",
]
