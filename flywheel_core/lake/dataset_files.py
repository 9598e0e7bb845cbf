"""Writes the files of a dataset from its examples in one pass, and counts what they hold."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import msgspec
import pyarrow as pa

from flywheel_core.lake.atomic import sha256_of
from flywheel_core.lake.columns import Split
from flywheel_core.lake.parquet import write_rows
from flywheel_core.lake.schemas import EXAMPLES

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
EXAMPLES_FILE = "examples.parquet"

_ENCODER = msgspec.json.Encoder()


def write_files(folder: Path, examples: Iterable[pa.RecordBatch]) -> dict[str, Any]:
    """Write `examples.parquet` and the three JSON Lines files; return the part of the manifest that describes them.

    A labelled example whose `copies` is n is written n times to the file of its split. Raises StorageError or OSError
    when a file cannot be written.
    """
    counts = _Counts()
    with ExitStack() as stack:
        files = {split: stack.enter_context((folder / f"{split}.jsonl").open("wb")) for split in SPLITS}
        write_rows(folder / EXAMPLES_FILE, EXAMPLES, _passing(examples, files, counts))
    names = (EXAMPLES_FILE, *(f"{split}.jsonl" for split in SPLITS))
    return {
        "counts": {
            "examples": counts.examples,
            "labelled": counts.labelled,
            "unlabelled": counts.examples - counts.labelled,
            **{split: sum(counts.labels[split].values()) for split in SPLITS},
            "left_out": dict(sorted(counts.left_out.items())),
        },
        "labels": {split: _shares(counts.labels[split]) for split in SPLITS},
        "rules": dict(sorted(counts.rules.items())),
        "unknown_models": dict(sorted(counts.unknown_models.items())),
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
            for name in names
        },
    }


class _Counts:
    def __init__(self) -> None:
        self.examples = 0
        self.labelled = 0
        self.labels: dict[Split, Counter[str]] = {split: Counter() for split in SPLITS}
        self.left_out: Counter[str] = Counter()
        self.rules: Counter[str] = Counter()
        self.unknown_models: Counter[str] = Counter()


def _passing(
    examples: Iterable[pa.RecordBatch], files: Mapping[Split, IO[bytes]], counts: _Counts
) -> Iterator[pa.RecordBatch]:
    """Yield the same batches, each after its lines are written and counted."""
    for batch in examples:
        columns = (batch.column(name).to_pylist() for name in _READ)
        for text, label, split, copies, left_out, rule, best_model in zip(*columns, strict=True):
            counts.examples += 1
            counts.rules[rule] += 1
            if left_out is not None:
                counts.left_out[left_out] += 1
            if rule == "unknown_model":
                counts.unknown_models[best_model] += 1
            if label is not None:
                counts.labelled += 1
                files[split].write((_ENCODER.encode({"text": text, "label": label}) + b"\n") * copies)
                counts.labels[split][label] += copies
        yield batch


_READ = ("text", "label", "split", "copies", "left_out", "rule", "best_model")


def _shares(counts: Counter[str]) -> dict[str, dict[str, float]]:
    total = sum(counts.values())
    return {
        label: {"count": count, "share": count / total} for label, count in sorted(counts.items()) if count
    }
