"""Raw days for the lake tests, and helpers that build and read their tables."""

import json
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from flywheel_core.config import Config
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import DAILY_TABLES, build_table

DAY = date(2026, 1, 5)
LATER = date(2026, 2, 1)
"""A day by which `DAY` is long over."""

CONFIG = Config.model_validate(
    {
        "models": {
            "big": {"category": "general"},
            "algebra": {"category": "math"},
            "coder": {"category": "code"},
            "nameless": {},
        },
        "data_collection": {
            "training": {"candidate_models": ["big", "algebra", "coder"]},
            "score_cost": 0.5,
        },
        "routing": {"default_model": "big"},
    }
)


def point(
    name: str, scores: Mapping[str, float | None], question: str | None = None, **fields: Any
) -> dict[str, Any]:
    """Return a canonical data point whose models all answered; `fields` replace or add top-level fields."""
    return {
        "id": name,
        "question": f"What is {name}?" if question is None else question,
        "responses": {model: response(model) for model in scores},
        "scores": dict(scores),
        "timestamp": 1_767_571_200,
        "source": "gateway-1",
        "received_at": 1_767_571_260.5,
        **fields,
    }


def response(model: str, **fields: Any) -> dict[str, Any]:
    """Return a canonical response with an answer; `fields` replace or add fields."""
    return {"model": model, "answer": f"an answer of {model}", "latency_ms": 100, "cost": 0.25, **fields}


def line(value: Any) -> bytes:
    """Return `value` as one raw line."""
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def write_raw(layout: Layout, values: Iterable[Any], day: date = DAY, writer: str | None = None) -> Path:
    """Write a raw file of a day, bytes as they are and anything else as JSON lines; return its path."""
    path = layout.raw_file(day, writer)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(value if isinstance(value, bytes) else line(value) for value in values))
    return path


def write_mixed_day(layout: Layout) -> None:
    """Write six points: three labelled (one by a tie) and three not, and after them a reject and a duplicate.

    Of the unlabelled, one is below the minimum score, one has an unknown best model and one has no responses.
    """
    failing = point("failing", {"big": 0.625, "algebra": 0.5, "coder": None})
    failing["responses"]["coder"] = response(
        "coder", answer=None, error="timeout", latency_ms=None, cost=None
    )
    write_raw(
        layout,
        [
            point("clear", {"big": 0.25, "algebra": 1.0}),
            point("tied", {"big": 0.75, "coder": 0.75}),
            failing,
            point("low", {"big": 0.125, "coder": 0.0}),
            point("odd", {"big": 0.5, "stranger": 1.0}),
            point("silent", {}),
            b"null\n",
            point("clear", {"big": 1.0}),
        ],
    )


def build_day(layout: Layout, day: date = DAY, config: Config = CONFIG) -> None:
    """Ingest a day that is over, and build all its tables."""
    ingest_day(layout, day, config, today=LATER)
    for name in DAILY_TABLES[2:]:
        build_table(layout, name, day, config)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a folder, by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def examples_of(layout: Layout, version: str) -> list[dict[str, Any]]:
    """Return the rows of a version's examples.parquet."""
    return pl.read_parquet(layout.dataset(version) / "examples.parquet").to_dicts()


def with_dataset(**settings_: Any) -> Config:
    """Return the tests' configuration with other dataset settings."""
    return Config.model_validate({**CONFIG.model_dump(mode="json"), "dataset": settings_})


def write_questions(layout: Layout, count: int, day: date = DAY, **fields: Any) -> None:
    """Write and build a day of points whose labels alternate between general, math and code."""
    models = ["big", "algebra", "coder"]
    write_raw(
        layout,
        [
            point(
                f"{day}-{number}",
                {model: 0.9 if model == models[number % 3] else 0.25 for model in models},
                question=f"{'abcdefghijklmnopqrstuvwxyz'[number % 26] * (number // 26 + 1)}，问题?",
                **fields,
            )
            for number in range(count)
        ],
        day,
    )
    build_day(layout, day)
