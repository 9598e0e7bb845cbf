"""Generate the sample in `data/sample/`: a week of a gateway's data points, the same bytes every time.

Six earlier days are raw files (gzip, with the flaws that `simulation/dirt.py` adds). The newest part has
clean points, one per line, which the demo sends to the collector. The days are in January 2026; importing can
shift them by whole days.
"""

import gzip
import io
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

from flywheel_core.lake.atomic import write_atomically
from flywheel_core.lake.layout import first_second
from simulation.answers import Answer, answer
from simulation.bank import DEFAULT_SEED, build
from simulation.dirt import as_file, dirty, failed_response
from simulation.models import DEFAULT_FIVE, MODELS
from simulation.question import DOMAINS, Question
from simulation.scoring import score
from simulation.seeded import generator, uniform

FIRST_DAY = date(2026, 1, 5)
EARLIER_DAYS = 6
NEWEST_NAME = "newest.jsonl"

_SIZES = (362, 371, 355, 348, 366, 331, 340)
_WEEKDAY = {"general": 0.24, "math": 0.2, "code": 0.24, "medicine": 0.17, "writing": 0.15}
_WEEKEND = {"general": 0.28, "math": 0.19, "code": 0.12, "medicine": 0.19, "writing": 0.22}
_REPEATED = 0.06
_FAILED = 0.012
_UNSCORED = 0.008
_ERRORS = (
    ("timeout: no answer within 30 s", 30_000),
    ("http_503: upstream unavailable", 41),
    ("http_429: rate limited", 12),
    ("connection reset by peer", 187),
)
_TENANTS = ("shop", "support", "school")


def write_sample(folder: Path) -> list[Path]:
    """Write the sample's files into `folder`, each atomically; return their paths in order of days."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in sample_files():
        path = folder / name
        write_atomically(path, content)
        written.append(path)
    return written


def sample_files() -> list[tuple[str, bytes]]:
    """Return name and content of every file of the sample."""
    days = _days()
    files = []
    for number, (day, points) in enumerate(days[:EARLIER_DAYS]):
        lines = dirty(number, points)
        files.append((f"training_data_{day:%Y%m%d}.jsonl.gz", _zip(lines)))
    return [*files, (NEWEST_NAME, as_file(days[EARLIER_DAYS][1]))]


def _days() -> list[tuple[date, list[dict[str, Any]]]]:
    rng = generator("sample", DEFAULT_SEED)
    waiting = {domain: [q for q in build(DEFAULT_SEED).training if q.domain == domain] for domain in DOMAINS}
    asked: list[Question] = []
    days = []
    for number, size in enumerate(_SIZES):
        day = FIRST_DAY + timedelta(days=number)
        shares = _WEEKEND if day.weekday() >= 5 else _WEEKDAY
        midnight = int(first_second(day))
        times = sorted(midnight + int(86_400 * rng.betavariate(2.4, 1.9)) for _ in range(size))
        points = []
        for index, timestamp in enumerate(times):
            domain = rng.choices(DOMAINS, [shares[name] for name in DOMAINS])[0]
            repeat = bool(asked) and (rng.random() < _REPEATED or not waiting[domain])
            question = rng.choice(asked) if repeat else waiting[domain].pop(0)
            asked.append(question)
            points.append(_point(rng, question, timestamp, f"{day:%Y%m%d}-{index:04d}"))
        days.append((day, points))
    return days


def _point(rng: Random, question: Question, timestamp: int, name: str) -> dict[str, Any]:
    """Return a canonical data point as the gateway sends it in training mode before any router is trained."""
    responses: dict[str, Any] = {}
    scores: dict[str, float | None] = {}
    for model in DEFAULT_FIVE:
        given = answer(DEFAULT_SEED, MODELS[model], question)
        if rng.random() < _FAILED:
            error, latency = rng.choice(_ERRORS)
            responses[model], scores[model] = failed_response(model, error, latency), None
            continue
        responses[model] = _response(rng, model, given)
        scores[model] = None if rng.random() < _UNSCORED else score(DEFAULT_SEED, question, given.text)
    return {
        "id": f"sample-{name}",
        "question": question.text,
        "responses": responses,
        "scores": scores,
        "timestamp": timestamp,
        "classification": {
            "category": "general",
            "confidence": 0.5,
            "model": "qwen-max",
            "reason": "fallback",
            "router_version": None,
        },
        "decision_id": f"decision-{int(uniform('decision', name) * 2**48):012x}",
        "served_model": "qwen-max",
        "mode": "training",
        "sampling_rate": 1.0,
        "asked": dict.fromkeys(DEFAULT_FIVE, 1.0),
        "tenant": rng.choice(_TENANTS),
    }


def _response(rng: Random, model: str, given: Answer) -> dict[str, Any]:
    total = given.prompt_tokens + given.completion_tokens
    return {
        "model": model,
        "answer": given.text,
        "latency_ms": round(given.latency_ms * rng.uniform(0.95, 1.1)),
        "error": None,
        "finish_reason": given.finish_reason,
        "usage": {
            "prompt_tokens": given.prompt_tokens,
            "completion_tokens": given.completion_tokens,
            "total_tokens": total,
        },
        "cost": given.cost,
    }


def _zip(content: bytes) -> bytes:
    """Compress `content` with gzip, without file name and time, which would differ from run to run."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=9, mtime=0) as packed:
        packed.write(content)
    return buffer.getvalue()
