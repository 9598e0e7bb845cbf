"""Raw files of a day for tests: small, and the same on every call."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

from flywheel_core.lake.layout import Layout

MODELS = ("qwen-max", "qwen-math-7b", "qwen-code-7b", "qwen-medicine-7b", "qwen-writing-7b")


def point(day: date, number: int, *, best: str | None = None) -> dict[str, object]:
    """Return a data point whose best model is `best`; without `best` the models take turns by `number`."""
    winner = best or MODELS[number % len(MODELS)]
    moment = int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()) + number
    words = " ".join(f"w{chr(97 + int(digit))}" for digit in f"{day.toordinal()}{number:04}")
    return {
        "id": f"{day:%Y%m%d}-{number}",
        "question": f"Question about {words}?",
        "responses": {
            model: {
                "model": model,
                "answer": f"{model} on {number}",
                "latency_ms": 100 + number,
                "cost": 0.001,
            }
            for model in MODELS
        },
        "scores": {model: 0.9 if model == winner else 0.3 for model in MODELS},
        "timestamp": moment,
        "source": "test",
        "received_at": float(moment),
        "schema_version": 1,
    }


def write_raw(layout: Layout, day: date, lines: list[object]) -> Path:
    """Write the day's raw file and return its path. Text becomes a line as it is, anything else as JSON."""
    path = layout.raw_file(day)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines))
    return path


def write_day(layout: Layout, day: date, count: int = 40, *, best: str | None = None) -> Path:
    """Write the day's raw file with `count` valid data points and return its path."""
    return write_raw(layout, day, [point(day, number, best=best) for number in range(count)])
