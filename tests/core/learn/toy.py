"""A toy router that looks at one word only, and questions that it can learn from.

Files and tables are real, but training takes no time.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from flywheel_core.config import Config, Dataset, Model, Storage
from flywheel_core.errors import NoDataError, RouterError
from flywheel_core.lake.atomic import publish_folder, sha256_of, write_atomically
from flywheel_core.lake.dataset import build_dataset
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import DAILY_TABLES, build_table
from flywheel_core.learn.champion import MANIFEST
from flywheel_core.learn.nightly import Craft
from flywheel_core.records import DataPoint, Response, encode_point

FIRST = date(2026, 1, 5)
MODELS = ("all-round", "coder")
COSTS = {"all-round": 0.01, "coder": 0.002}
KINDS = ("story", "code")
SKILL = {
    ("all-round", "story"): 0.8,
    ("all-round", "code"): 0.5,
    ("coder", "story"): 0.1,
    ("coder", "code"): 0.9,
}
"""Probability that a model's answer to a question of this kind is right."""


class Choice(NamedTuple):
    model: str
    category: str


class ToyRouter(NamedTuple):
    """Asks `rules[word]` when a prompt begins with `word`, and `default` for any other prompt."""

    version: str
    default: str
    rules: dict[str, str]

    def decide_all(self, prompts: Sequence[str]) -> list[Choice]:
        chosen = [self.rules.get(prompt.split()[0], self.default) for prompt in prompts]
        return [Choice(model, f"of {model}") for model in chosen]


def load(folder: Path) -> ToyRouter:
    verify(folder)
    found = json.loads((folder / "rules.json").read_bytes())
    return ToyRouter(folder.name, found["default"], found["rules"])


def verify(folder: Path) -> None:
    said = json.loads((folder / MANIFEST).read_bytes())["sha256"]
    if sha256_of(folder / "rules.json") != said:
        raise RouterError(f"{folder} is damaged", code="router_damaged")


def publish(layout: Layout, version: str, default: str, rules: dict[str, str]) -> str:
    def fill(folder: Path) -> None:
        (folder / "rules.json").write_text(json.dumps({"default": default, "rules": rules}))
        (folder / MANIFEST).write_text(json.dumps({"sha256": sha256_of(folder / "rules.json")}))

    publish_folder(layout.router(version), fill)
    return version


def _means(layout: Layout, dataset: str) -> dict[str, dict[str, float]]:
    """Return first word -> model -> mean score over the training split, where "" stands for all questions."""
    rows = pl.read_parquet(layout.dataset(dataset) / "examples.parquet").filter(pl.col("split") == "train")
    sums: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for text, outcomes in rows.select("text", "outcomes").rows():
        for outcome in outcomes:
            for word in ("", text.split()[0]):
                sums[word][outcome["model"]].append(0.0 if outcome["failed"] else outcome["score"])
    if not sums:
        raise NoDataError("nothing to train on")
    return {
        word: {model: float(np.mean(values)) for model, values in found.items()}
        for word, found in sums.items()
    }


def _best(means: dict[str, float]) -> str:
    return max(sorted(means), key=lambda model: means[model])


def train(layout: Layout, dataset: str, _: Config) -> str:
    means = _means(layout, dataset)
    rules = {word: _best(found) for word, found in means.items() if word}
    return publish(layout, f"toy-{dataset}", _best(means[""]), rules)


def best_single(layout: Layout, dataset: str, _: Config) -> str:
    return publish(layout, f"single-{dataset}", _best(_means(layout, dataset)[""]), {})


def _evaluate(layout: Layout, version: str, dataset: str, _: Config) -> dict[str, Any]:
    return {}


CRAFT = Craft(
    train=train,
    best_single=best_single,
    verify=verify,
    load=load,
    evaluate=_evaluate,
)


def config(root: Path) -> Config:
    return Config(
        models={"all-round": Model(category="general"), "coder": Model(category="code")},
        routing=Config().routing.model_copy(update={"default_model": "all-round"}),
        data_collection=Config().data_collection.model_copy(
            update={
                "training": Config().data_collection.training.model_copy(
                    update={"candidate_models": list(MODELS)}
                )
            }
        ),
        dataset=Dataset(min_examples=1, min_labels=1),
        storage=Storage(data_dir=root),
    )


def points(day: date, count: int, seed: int = 0) -> list[bytes]:
    """Return the lines of `count` different questions of a day, half of each kind, each right or wrong."""
    random = np.random.default_rng([day.toordinal(), seed])
    midnight = (day - date(1970, 1, 1)).days * 86_400
    letters = np.array(list("abcdefghijklmnop"))
    lines = []
    for number in range(count):
        kind = KINDS[number % 2]
        moment = midnight + number * 60
        scores = {model: float(random.random() < SKILL[model, kind]) for model in MODELS}
        name = "".join(random.choice(letters, 12))
        lines.append(
            encode_point(
                DataPoint(
                    id=f"{day}-{seed}-{number}",
                    question=f"{kind} about {name}",
                    responses={
                        model: Response(model, answer="an answer", latency_ms=10, cost=COSTS[model])
                        for model in MODELS
                    },
                    scores=dict(scores),
                    timestamp=moment,
                    source="tests",
                    received_at=float(moment),
                )
            )
        )
    return lines


def days(count: int) -> list[date]:
    return [FIRST + timedelta(days=ahead) for ahead in range(count)]


def make_day(layout: Layout, settings: Config, day: date, count: int) -> str:
    """Write a day's raw file, build its tables and dataset, and return the dataset's version."""
    write_atomically(layout.raw_file(day), b"".join(line + b"\n" for line in points(day, count)))
    ingest_day(layout, day, settings)
    for name in DAILY_TABLES[2:]:
        build_table(layout, name, day, settings)
    return build_dataset(layout, day, settings).version
