"""What routing gains on recorded outcomes, and what it costs: `python -m benchmarks.routing --data FOLDER`.

A fifth of the questions, chosen by hash, is locked: it is in no training and no figure unless `--locked` is
given, which trains on the rest and judges on the locked fifth. Otherwise the rest is cross-validated in five
folds, grouped by question with case, white space and digits folded. Routers see only the text and the
training scores. Bounds are 95 % bootstrap intervals. `--pools 100` instead plays 100 small replays, which
takes about an hour on two cores.
"""

import argparse
import gzip
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.common import existing_folder, machine_info, print_result, print_table
from benchmarks.pools import replay_pools
from benchmarks.routing_speed import measured
from flywheel_core.learn.answers import joined_answers
from flywheel_core.learn.example_rows import read_examples
from flywheel_core.learn.examples import Examples
from flywheel_core.learn.measures import pair_figures
from flywheel_core.learn.resampling import interval, resamples
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.train import train_examples

NEAR_EQUAL = ("gemini-1.5-flash-002", "DeepSeek-Coder-V2", "Meta-Llama-3.1-70B-Instruct")
FOLDS = 5
LOCKED = 0.2
SIZES = (10_000, 100_000)
OUTCOMES = pl.List(
    pl.Struct(
        {
            "model": pl.String,
            "score": pl.Float64,
            "failed": pl.Boolean,
            "cost": pl.Float64,
            "latency_ms": pl.Float64,
        }
    )
)


@dataclass(frozen=True)
class Routed:
    """Judged questions: chosen model, expected and true scores of shape (n, m), best single model.

    best: of each question's training folds; groups: hashes of the folded texts, which folds and resampling keep together.
    """

    chosen: NDArray[np.intp]
    expected: NDArray[np.float64]
    scores: NDArray[np.float64]
    best: NDArray[np.intp]
    groups: NDArray[np.str_]


def main() -> None:
    """Run the requested parts and print the result line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.routing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data",
        type=existing_folder,
        required=True,
        help="folder with mmlu_pro.jsonl.gz and routellm.jsonl.gz",
    )
    parser.add_argument("--locked", action="store_true", help="judge on the locked fifth instead of by folds")
    parser.add_argument("--only", choices=("mmlu_pro_3", "mmlu_pro_12", "routellm", "speed"), action="append")
    parser.add_argument("--pools", type=int, default=0, help="how many seeded pools to replay day by day")
    options = parser.parse_args()
    machine = machine_info()
    wanted = options.only or ([] if options.pools else ["mmlu_pro_3", "mmlu_pro_12", "routellm", "speed"])
    ratios: dict[str, float] = {}
    figures: dict[str, Any] = {"locked": options.locked}
    rows = []
    for name in wanted:
        if name == "speed":
            continue
        routed = judged(read_pool(options.data, name), locked=options.locked)
        found = figures_of(routed)
        figures[name] = found
        rows += [[name, key, *(f"{value:.4f}" for value in values)] for key, values in found.items()]
        if name == "routellm":
            ratios |= {"routellm_apgr": found["apgr"][0], "routellm_cpt50": found["cpt50"][0]}
        else:
            ratios[f"{name}_lift_pp"] = 100 * found["gain"][0]
        print(f"{name}: done", file=sys.stderr, flush=True)
    if rows:
        print_table(("data", "figure", "value", "low", "high"), rows)
    if "speed" in wanted:
        speeds = {size: measured(size) for size in SIZES}
        print_table(
            ("examples", *speeds[SIZES[0]]), [[size, *found.values()] for size, found in speeds.items()]
        )
        figures["speed"] = {str(size): found for size, found in speeds.items()}
        largest = speeds[SIZES[-1]]
        ratios |= {
            "decision_p50_ms": largest["p50_ms"],
            "decision_p99_ms": largest["p99_ms"],
            "train_s_100k": largest["train_s"],
        }
    if options.pools:
        replays = replay_pools(options.data, options.pools, is_locked)
        losses = [found["gain"] for found in replays if found["high"] < 0]
        figures["replays"] = replays
        ratios |= {
            "replay_significant_losses": len(losses),
            "replay_worst_gain_pp": 100 * min(losses, default=0.0),
        }
        print(f"replays: mean gain {100 * np.mean([found['gain'] for found in replays]):+.2f} pp", end=", ")
        print(f"{len(losses)} of {len(replays)} significant losses")
    print_result("routing", ratios, figures, machine)


def read_pool(folder: Path, name: str) -> Examples:
    """Return the questions of one comparison, each with an outcome of every model."""
    file = folder / ("routellm.jsonl.gz" if name == "routellm" else "mmlu_pro.jsonl.gz")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    if name == "routellm":
        rows = [row for row in rows if row["dataset"] == "mmlu"]
    names = sorted({model for row in rows for model in row["scores"]})
    rows = [row for row in rows if all(row["scores"].get(model) is not None for model in names)]
    pool = NEAR_EQUAL if name == "mmlu_pro_3" else names
    frame = pl.DataFrame(
        {
            "text": [row["question"] for row in rows],
            "answers": [_answers(row, pool) for row in rows],
            "outcomes": [
                [
                    {
                        "model": model,
                        "score": row["scores"][model],
                        "failed": False,
                        "cost": None,
                        "latency_ms": None,
                    }
                    for model in pool
                ]
                for row in rows
            ],
        },
        schema_overrides={"outcomes": OUTCOMES, "answers": pl.String},
    )
    return read_examples(frame, Learning())


def judged(examples: Examples, *, locked: bool) -> Routed:
    """Route every judged question with a router that saw neither it nor its near-duplicates in training."""
    hidden = np.array([is_locked(text) for text in examples.texts])
    hidden |= np.isin(examples.groups, examples.groups[hidden])
    folds = np.array([int(FOLDS * _share(f"fold {group}")) for group in examples.groups])
    rounds = (
        [(~hidden, hidden)]
        if locked
        else [(~hidden & (folds != fold), ~hidden & (folds == fold)) for fold in range(FOLDS)]
    )
    parts = []
    for number, (inside, outside) in enumerate(rounds):
        training, asked = examples.pick(np.flatnonzero(inside)), examples.pick(np.flatnonzero(outside))
        trained = train_examples(training, Learning(), version=f"fold-{number}")
        decisions = trained.router.decide_all(asked.texts)
        names = list(examples.models)
        print(f"  {number}: {json.dumps(trained.figures)}", file=sys.stderr, flush=True)
        parts.append(
            Routed(
                np.array([names.index(decision.model) for decision in decisions], dtype=np.intp),
                np.array([[decision.scores[model] for model in names] for decision in decisions]),
                asked.scores,
                np.full(len(asked), int(np.nanmean(training.scores, axis=0).argmax())),
                asked.groups,
            )
        )
    return Routed(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Routed.__dataclass_fields__)
    )


def figures_of(routed: Routed) -> dict[str, list[float]]:
    """Return figure -> value and its 95 % bounds."""
    own = np.arange(len(routed.scores))
    picked, best = routed.scores[own, routed.chosen], routed.scores[own, routed.best]
    draws = resamples(routed.groups, 0)
    columns = {
        "routed": picked,
        "best_single": best,
        "random": routed.scores.mean(axis=1),
        "oracle": routed.scores.max(axis=1),
        "gain": picked - best,
    }
    found = {name: interval(column, draws) for name, column in columns.items()}
    if routed.scores.shape[1] == 2:
        found |= pair_figures(routed.expected, routed.scores, routed.groups)
    return found


def is_locked(question: str) -> bool:
    """Return whether a question is in the locked fifth."""
    return _share(f"lock{_folded(question)}") < LOCKED


def _answers(row: dict[str, Any], pool: Sequence[str]) -> str | None:
    responses = row.get("responses") or {}
    return joined_answers([(responses.get(model) or {}).get("answer") for model in pool])


def _folded(text: str) -> str:
    return re.sub(r"\d", "0", re.sub(r"\s+", " ", text.strip().casefold()))


def _share(text: str) -> float:
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12


if __name__ == "__main__":
    main()
