"""Raw day files with known content, for the tests of commands and reports."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

DAY_ONE, DAY_TWO = date(2026, 1, 5), date(2026, 1, 6)


def point(identity: str, question: str, day: date, **scores: float | None) -> dict[str, Any]:
    """Return a data point at noon UTC of `day`; underscores in model names become hyphens.

    The first model answers in 100 ms, and each further one takes 100 ms longer.
    """
    models = {name.replace("_", "-"): score for name, score in scores.items()}
    return {
        "id": identity,
        "question": question,
        "responses": {
            model: {
                "model": model,
                "answer": f"answer of {model}",
                "latency_ms": 100 * (place + 1),
                "cost": 0.5,
            }
            for place, model in enumerate(models)
        },
        "scores": models,
        "timestamp": int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()),
    }


def write_lines(path: Path, *lines: dict[str, Any] | str) -> Path:
    """Write one line for each item: data points as JSON, texts as they are. Returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return path


def record(data: Path) -> None:
    """Write two days of raw files under the data folder `data`.

    The first: two math labels, one code label, one point below the minimum score, one torn line and one score
    out of range. The second: one general label, one near tie that also becomes general, one repeated point.
    """
    write_lines(
        data / "raw" / f"training_data_{DAY_ONE:%Y%m%d}.jsonl",
        point("a1", "求解 x^2 = 4", DAY_ONE, qwen_max=0.4, qwen_math_7b=0.9),
        point("a2", "integrate sin(x)", DAY_ONE, qwen_max=0.5, qwen_math_7b=0.7),
        point("a3", "reverse a list in Rust", DAY_ONE, qwen_max=0.2, qwen_code_7b=0.8),
        point("a4", "what is <b>love</b>?", DAY_ONE, qwen_max=0.3, qwen_writing_7b=0.1),
        '{"id": "torn", "question": "what i',
        point("a5", "too good", DAY_ONE, qwen_max=2.0, qwen_math_7b=0.1),
    )
    repeated = point("b1", "how are you", DAY_TWO, qwen_max=1.0, qwen_code_7b=0.0)
    write_lines(
        data / "raw" / f"training_data_{DAY_TWO:%Y%m%d}.jsonl",
        repeated,
        point("b2", "a poem about rain", DAY_TWO, qwen_max=0.8, qwen_writing_7b=0.81),
        repeated,
    )
