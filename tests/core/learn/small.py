"""Real routers that train in no time, because they always ask the best single model."""

from collections.abc import Sequence

import numpy as np

from flywheel_core.lake.layout import Layout
from flywheel_core.learn.artefact import publish_router
from flywheel_core.learn.examples import Examples
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.train import train_examples

PROMPTS = ("What is 1 + 1?", "Write a poem about rain.", "水的沸点是多少？")


def publish_single(
    layout: Layout, version: str, best: str, models: Sequence[str], dataset: str = "made up"
) -> str:
    """Publish a router that always asks `best`, one of `models`, and names `dataset` as its source."""
    names = tuple(sorted(models))
    count = 40
    scores = np.tile([0.9 if name == best else 0.3 for name in names], (count, 1))
    nothing = np.full_like(scores, np.nan)
    examples = Examples(
        texts=[f"question {number}" for number in range(count)],
        models=names,
        scores=scores,
        costs=nothing,
        waits=nothing,
        weights=np.ones(count),
        groups=np.array([f"{number:040x}" for number in range(count)]),
        labels=[None] * count,
        days=np.zeros(count, dtype=np.int64),
    )
    trained = train_examples(examples, Learning(), version=version, single=True)
    publish_router(layout, trained.router, {"dataset": dataset}, PROMPTS)
    return version
