"""Trains, publishes and reads the routers of datasets.

The libraries that training needs are imported only when it is asked for.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from flywheel_core.config import Config
from flywheel_core.errors import NoDataError
from flywheel_core.lake.atomic import sha256_of, write_atomically
from flywheel_core.lake.dataset import MANIFEST as DATASET_MANIFEST
from flywheel_core.lake.dataset import load_manifest, verify_dataset
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import table_batches
from flywheel_core.learn.answers import digest_of, newest_answers
from flywheel_core.learn.champion import version_folder
from flywheel_core.learn.excerpts import MEASURES, in_excerpts, texts_and_groups
from flywheel_core.learn.nightly import Craft
from flywheel_core.learn.split_rows import read_split, rows_of

if TYPE_CHECKING:
    from flywheel_core.learn.labels import Trained  # scikit-learn is imported with these
    from flywheel_core.learn.router import Router

CANARY_PROMPTS = 24
RECIPE = 16
"""Increased whenever the same dataset and settings would give a different router."""


def trained_craft() -> Craft:
    """Return the `Craft` that makes and reads Flywheel's own routers."""
    return Craft(
        train=train_version,
        best_single=best_single_version,
        verify=_verified,
        load=_loaded,
        evaluate=evaluate_version,
    )


def train_version(layout: Layout, dataset: str, config: Config) -> str:
    """Train and publish the router of a dataset, unless it exists and is whole; return its version.

    Raises DatasetError when the dataset is missing or damaged, NoDataError when there is nothing to learn
    from.
    """
    return _publish(layout, dataset, config, "router")


def best_single_version(layout: Layout, dataset: str, config: Config) -> str:
    """Publish, like `train_version`, the router that always asks the dataset's best single model.

    The best model is determined on everything but the test split: a mean score has nothing to validate, so
    the validation split may count too.
    """
    return _publish(layout, dataset, config, "single")


def train_labels_version(layout: Layout, dataset: str, config: Config) -> str:
    """Train and publish, like `train_version`, the classifier of labels alone.

    This is what a dataset's {"text", "label"} lines train.
    """
    return _publish(layout, dataset, config, "labels")


def evaluate_version(layout: Layout, version: str, dataset: str, config: Config) -> Mapping[str, Any]:
    """Evaluate a router on the test split of a dataset; return its figures and write them as JSON and HTML.

    The files are those of `Layout.evaluation`. When no test question has an outcome of each of the router's
    models, the result is empty and nothing is written.
    """
    from flywheel_core.report.evaluation import evaluation_page

    try:
        figures = figures_on_dataset(layout, version, dataset, config)
    except NoDataError:
        return {}
    page = evaluation_page(figures, questions=questions_of(dataset))
    write_atomically(layout.evaluation(version, "html"), page.encode())
    text = json.dumps(figures, ensure_ascii=False, indent=1)
    write_atomically(layout.evaluation(version, "json"), text.encode())
    return figures


def questions_of(dataset: str) -> str:
    """Return in words which questions a router of a dataset is evaluated on."""
    return f"the test split of dataset {dataset}"


def figures_on_dataset(layout: Layout, version: str, dataset: str, config: Config) -> Mapping[str, Any]:
    """Return the figures of a router on the test split of a dataset, see `flywheel_core/learn/evaluate.py`.

    Raises NoDataError when no test question has an outcome of each of the router's models.
    """
    verify_dataset(layout, dataset)
    return _figures(layout, version, read_split(layout, dataset, "test"), config)


def figures_on_days(layout: Layout, version: str, days: Sequence[date], config: Config) -> Mapping[str, Any]:
    """Return the figures of a router on the test questions received on labelled days.

    The days may come after the router's training. Raises NoDataError as `figures_on_dataset` does.
    """
    parts = [
        in_excerpts(
            part.filter(pl.col("split") == "test") for part in table_batches(layout, "training_examples", day)
        )
        for day in days
    ]
    return _figures(layout, version, pl.concat(parts), config)


def _figures(layout: Layout, version: str, rows: pl.DataFrame, config: Config) -> Mapping[str, Any]:
    from flywheel_core.learn.evaluate import evaluate
    from flywheel_core.learn.example_rows import read_examples

    router = _loaded(version_folder(layout, version))
    examples = read_examples(rows, config.learning, models=router.models)
    return evaluate(router, examples, config.learning)


def _verified(folder: Path) -> object:
    from flywheel_core.learn.artefact import verify_router

    return verify_router(folder)


def _loaded(folder: Path) -> "Router":
    from flywheel_core.learn.artefact import load_router

    return load_router(folder)


def _publish(layout: Layout, dataset: str, config: Config, kind: str) -> str:
    verify_dataset(layout, dataset)
    facts = _facts(layout, dataset, config, kind)
    splits = ("train", "validation") if kind == "single" else ("train",)
    frame = read_split(layout, dataset, *splits, most=config.learning.max_examples)
    if frame.is_empty():
        count = load_manifest(layout, dataset)["counts"]["examples"]
        raise NoDataError(
            f"there is nothing to train on: of the {count} examples of dataset {dataset} none is in {' or '.join(splits)}",
            hint="a hash of the question decides its split, and seven of ten are for training: collect more questions",
        )
    if kind == "router":
        frame, facts["answers_sha256"] = _with_answers(layout, frame, config)
    version = f"{dataset}-{kind}-{_digest(facts)}"
    from flywheel_core.learn.artefact import is_whole, publish_router

    if is_whole(layout.router(version)):
        return version

    make = _MAKERS[kind](frame, config, version)
    del frame  # while training, its texts and answers would be held twice
    trained = make()
    publish_router(
        layout, trained.router, {**facts, "figures": dict(trained.figures)}, _canary(layout, dataset)
    )
    return version


def _canary(layout: Layout, dataset: str) -> list[str]:
    """Return whole prompts of the validation split, in order of their question hashes."""
    rows = pl.concat(rows_of(layout, dataset, ("validation",), CANARY_PROMPTS))
    return rows.sort("question_key")["text"].to_list()


def _with_answers(layout: Layout, frame: pl.DataFrame, config: Config) -> tuple[pl.DataFrame, str]:
    """Return the examples with the answers that training learns directions from, and the answers' hash."""
    answers = newest_answers(layout, frame, config.learning.feature_rows)
    return frame.join(answers, on="id", how="left", maintain_order="left"), digest_of(answers)


def _from_outcomes(
    frame: pl.DataFrame, config: Config, version: str, *, single: bool
) -> Callable[[], "Trained"]:
    from flywheel_core.learn.example_rows import read_examples
    from flywheel_core.learn.train import train_examples

    return partial(
        train_examples,
        read_examples(frame, config.learning, models=config.declared_order()),
        config.learning,
        version=version,
        categories=config.categories(),
        models=config.declared_order(),
        candidates=config.data_collection.training.candidate_models,
        single=single,
    )


def _from_labels(frame: pl.DataFrame, config: Config, version: str) -> Callable[[], "Trained"]:
    from flywheel_core.learn.labels import train_labels

    rows = frame.filter(pl.col("label").is_not_null() & (pl.col("copies") > 0))
    columns = ("text", "label", *MEASURES)
    rows = rows.select(pl.col(columns).repeat_by("copies")).explode(columns)
    categories = config.categories()
    models = {model: categories[model] for model in config.declared_order() if model in categories}
    texts, groups = texts_and_groups(rows)
    labels = rows["label"].to_list()
    return partial(train_labels, texts, labels, models, config.learning, version=version, groups=groups)


_MAKERS: Mapping[str, Callable[[pl.DataFrame, Config, str], Callable[[], "Trained"]]] = {
    "router": partial(_from_outcomes, single=False),
    "single": partial(_from_outcomes, single=True),
    "labels": _from_labels,
}


def _facts(layout: Layout, dataset: str, config: Config, kind: str) -> dict[str, Any]:
    """Return what a router is made from: the same facts give the same router."""
    order = {"preferred": config.declared_order()} if kind == "labels" else {}  # others sort models by name
    return {
        "kind": kind,
        "dataset": dataset,
        "dataset_sha256": sha256_of(layout.dataset(dataset) / DATASET_MANIFEST),
        "recipe": RECIPE,
        "settings": config.learning.model_dump(mode="json", exclude={"jobs"}),
        "allowed": {model: config.models[model].category for model in config.declared_order()},
        **order,
        "candidates": list(config.data_collection.training.candidate_models),
    }


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
