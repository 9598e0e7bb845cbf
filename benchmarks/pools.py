"""Many small replays of random pools, each compared with the best single model of the days before.

A pool is drawn, by its seed, from the recorded outcomes in `mmlu_pro.jsonl.gz`: 2 to 6 of its models, and
2,400 of its questions spread over 8 days in random order. It is replayed by the real steps of `flywheel
replay`. Questions of the locked fifth are left out.
"""

import gzip
import json
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

DAY_SECONDS = 86_400
FIRST_DAY = 20_454
"""2026-01-01 as days since 1970-01-01."""
DAYS = 8
QUESTIONS_A_DAY = 300
POOL_SIZES = (2, 6)
PROCESSES = 2


def replay_pools(folder: Path, count: int, is_locked: Any) -> list[dict[str, Any]]:
    """Replay pools 0 .. count-1, two at a time; return the results of `play` in order.

    is_locked: takes a question.
    """
    with gzip.open(folder / "mmlu_pro.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if not is_locked(row["question"])]
    found: list[dict[str, Any]] = []
    running: deque[subprocess.Popen[str]] = deque()
    with tempfile.TemporaryDirectory(prefix="flywheel-pools-") as made:
        for seed in range(count + PROCESSES):
            if seed < count:
                place = Path(made) / str(seed)
                place.mkdir()
                draw_pool(rows, seed, place)
                command = [sys.executable, "-m", "benchmarks.pools", str(place)]
                running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            if len(running) == PROCESSES or (seed >= count and running):
                process = running.popleft()
                output, _ = process.communicate()
                if process.returncode:
                    raise subprocess.CalledProcessError(process.returncode, process.args)
                found.append(json.loads(output))
                print(f"  pool {len(found)} of {count}: {output.strip()}", file=sys.stderr, flush=True)
    return found


def draw_pool(rows: list[dict[str, Any]], seed: int, place: Path) -> None:
    """Write the raw lines and the models of one pool into `place`."""
    draw = np.random.default_rng(seed)
    models = sorted({model for row in rows for model in row["scores"]})
    pool = sorted(draw.choice(models, int(draw.integers(POOL_SIZES[0], POOL_SIZES[1] + 1)), replace=False))
    chosen = draw.choice(len(rows), DAYS * QUESTIONS_A_DAY, replace=False)
    (place / "pool.json").write_text(json.dumps(pool))
    with (place / "outcomes.jsonl").open("w", encoding="utf-8") as file:
        for number, at in enumerate(chosen):
            row = rows[at]
            when = (FIRST_DAY + number // QUESTIONS_A_DAY) * DAY_SECONDS + number % QUESTIONS_A_DAY
            file.write(json.dumps({**_only(row, pool), "timestamp": when}, ensure_ascii=False) + "\n")


def play(place: Path) -> dict[str, Any]:
    """Replay one pool; return its size, its gain over the best single model with 95 % bounds, promotions."""
    from flywheel_core.config import Config
    from flywheel_core.learn.craft import trained_craft
    from flywheel_core.learn.replay import replay

    pool = json.loads((place / "pool.json").read_text())
    result = replay([place / "outcomes.jsonl"], place / "replay", Config(), trained_craft(), pool=pool)
    summary = result.summary()
    assert summary is not None
    return {
        "models": len(pool),
        "questions": summary.questions,
        "gain": summary.gain,
        "low": summary.gain_low,
        "high": summary.gain_high,
        "promotions": summary.promotions,
    }


def _only(row: dict[str, Any], pool: list[str]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "question": row["question"],
        "responses": {model: found for model, found in row["responses"].items() if model in pool},
        "scores": {model: score for model, score in row["scores"].items() if model in pool},
    }


if __name__ == "__main__":
    print(json.dumps(play(Path(sys.argv[1]))))
