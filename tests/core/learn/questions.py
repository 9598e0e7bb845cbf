"""Synthetic questions on three subjects, and three models: two specialists and one fair at everything."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from flywheel_core.learn.example_rows import read_examples
from flywheel_core.learn.labels import Trained
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.train import train_examples

WORDS = {
    "math": ["integral", "matrix", "prime", "equation", "vector", "theorem", "sum", "root"],
    "code": ["python", "loop", "compiler", "string", "pointer", "function", "array", "bug"],
    "medicine": ["patient", "fever", "dose", "artery", "tumour", "nerve", "virus", "bone"],
}
COMMON = ["what", "is", "the", "of", "a", "when", "and", "why", "does", "with"]
CATEGORIES = {"m-code": "code", "m-general": "general", "m-math": "math"}
OUTCOME = pl.Struct(
    {
        "model": pl.String,
        "score": pl.Float64,
        "failed": pl.Boolean,
        "cost": pl.Float64,
        "latency_ms": pl.Float64,
    }
)


def train(
    rows: pl.DataFrame,
    settings: Learning,
    *,
    version: str,
    categories: Mapping[str, str] | None = None,
    models: Sequence[str] | None = None,
) -> Trained:
    """Train a router on the rows of a frame."""
    examples = read_examples(rows, settings)
    return train_examples(examples, settings, version=version, categories=categories, models=models)


def chance(model: str, subject: str) -> float:
    """Return the probability that a model's answer to a question about a subject is right."""
    if model == "m-general":
        return 0.6
    return 0.95 if CATEGORIES[model] == subject else 0.3


def frame(count: int, seed: int = 0, *, missing: float = 0.0, shuffled: bool = False) -> pl.DataFrame:
    """Return examples with all the columns that training reads, all of them in the training split.

    missing: share of the scores that are unknown. shuffled: scores depend on a subject drawn at random, not
    on the text's.
    """
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        subject = list(WORDS)[random.integers(3)]
        words = [*random.choice(COMMON, 8), *random.choice(WORDS[subject], 4)]
        random.shuffle(words)
        judged = list(WORDS)[random.integers(3)] if shuffled else subject
        outcomes = [
            {
                "model": model,
                "score": None
                if random.random() < missing
                else float(random.random() < chance(model, judged)),
                "failed": False,
                "cost": 0.01 if model == "m-general" else 0.001,
                "latency_ms": 800.0,
            }
            for model in CATEGORIES
        ]
        label = subject if subject != "medicine" else "general"
        rows.append({"text": " ".join([*words, _spelled(number)]), "outcomes": outcomes, "label": label})
    table = pl.DataFrame(rows, schema={"text": pl.String, "outcomes": pl.List(OUTCOME), "label": pl.String})
    return table.with_columns(split=pl.lit("train"), weight=pl.lit(1), day=pl.lit("2026-01-05").str.to_date())


def _spelled(number: int) -> str:
    """Return a different word for each number, so that no two questions are alike."""
    return "".join("abcdefghij"[int(digit)] for digit in str(number))
