"""How long training and decisions take, on synthetic examples; part of `python -m benchmarks.routing`."""

import json
import resource
import subprocess
import sys
import time

import numpy as np

from benchmarks.common import percentile
from flywheel_core.learn.examples import Examples
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.text import question_group
from flywheel_core.learn.train import train_examples

PROMPTS = 2_000


def measured(size: int) -> dict[str, float]:
    """Measure training and decisions with `size` examples, in a process of its own for the peak memory."""
    command = [sys.executable, "-m", "benchmarks.routing_speed", str(size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _measure(size: int) -> dict[str, float]:
    examples = made_up(size)
    start, used = time.perf_counter(), time.process_time()
    router = train_examples(examples, Learning(), version="speed").router
    train_s, train_cpu_s = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    prompts = made_up(PROMPTS, seed=1).texts
    for prompt in prompts[:100]:
        router.decide(prompt)
    times, processor = [], []
    for prompt in prompts:
        start, used = time.perf_counter(), time.process_time()
        router.decide(prompt)
        times.append(1_000 * (time.perf_counter() - start))
        processor.append(1_000 * (time.process_time() - used))
    start = time.perf_counter()
    router.decide_all(prompts)
    return {
        "p50_ms": percentile(times, 0.5),
        "p99_ms": percentile(times, 0.99),
        "cpu_p50_ms": percentile(processor, 0.5),
        "train_s": train_s,
        "train_cpu_s": train_cpu_s,
        "peak_gib": peak,
        "batch_per_s": len(prompts) / (time.perf_counter() - start),
    }


def made_up(size: int, seed: int = 0) -> Examples:
    """Make synthetic questions of 100 words in five subjects, and five models, each better at one."""
    random = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlucmfwypvbgkqjxz"))
    odds = 1 / (np.arange(len(letters)) + 3.0)
    speller = np.random.default_rng(7)
    words = np.array(
        [
            "".join(speller.choice(letters, speller.integers(2, 11), p=odds / odds.sum()))
            for _ in range(20_000)
        ]
    )
    frequency = 1 / (np.arange(len(words)) + 10.0)
    frequency /= frequency.sum()
    subjects = random.integers(0, 5, size)
    texts = []
    for subject in subjects:
        drawn = random.choice(len(words), 100, p=frequency)
        special = random.random(100) < 0.2
        drawn[special] = 1_000 + 500 * subject + drawn[special] % 500
        texts.append(" ".join(words[drawn]))
    skill = 0.5 + 0.15 * (subjects[:, None] == np.arange(5)) + 0.05 * (np.arange(5) == 0)
    scores = (random.random((size, 5)) < skill).astype(float)
    empty = np.full_like(scores, np.nan)
    groups = np.array([question_group(text) for text in texts], dtype=np.str_)
    models = tuple(f"model-{number}" for number in range(5))
    return Examples(
        texts,
        models,
        scores,
        empty,
        empty,
        np.ones(size),
        groups,
        [None] * size,
        np.zeros(size, dtype=np.int64),
    )


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]))))
