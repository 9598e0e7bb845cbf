"""The dataset step of `steps.py`: makes, describes and checks the training dataset that ends with a day."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from flywheel_core.errors import DatasetError, NoDataError
from flywheel_core.lake.atomic import sha256_of
from flywheel_core.lake.batches import frames_of
from flywheel_core.lake.dataset import MANIFEST, DatasetResult, build_dataset, verify_dataset
from flywheel_core.lake.dataset_files import EXAMPLES_FILE, SPLITS
from flywheel_core.lake.leftovers import remove_leftovers
from flywheel_core.lake.meanings import MEANINGS
from flywheel_core.lake.views import write_views_file
from flywheel_dagster import checks, metadata
from flywheel_dagster.days import Outcome
from flywheel_dagster.resources import Lake

NAME = "training_dataset"
CAP_COLUMNS = ("group", "name", "label", "examples", "kept")


def make_dataset(lake: Lake, day: date) -> Sequence[Outcome]:
    """Make the dataset version whose window ends with `day`.

    When no day of the window has a table, nothing is made and a check warns.
    """
    try:
        result = build_dataset(lake.layout, day, lake.config)
    except NoDataError as error:
        nothing = checks.Verdict("enough_examples", False, error.message, dg.AssetCheckSeverity.WARN)
        return (Outcome(NAME, None, verdicts=(nothing,)),)
    write_views_file(lake.layout)
    examples = pl.scan_parquet(result.path / EXAMPLES_FILE, glob=False)
    used = examples.filter(pl.col("label").is_not_null() & pl.col("left_out").is_null())
    labels = dict(used.group_by("label").len().sort("label").collect().rows())
    needed = lake.config.dataset
    verdicts = (
        checks.enough_examples(labels=labels, min_examples=needed.min_examples, min_labels=needed.min_labels),
        checks.groups_within_share(caps=result.manifest["group_caps"], limit=needed.max_group_share),
        _split_verdict(result.path / EXAMPLES_FILE),
        _files_verdict(lake, result),
    )
    shown = lake.config.operations.preview_rows
    preview = used.select("text", "label", "best_model", "score", "split").head(shown).collect()
    return (
        Outcome(
            NAME,
            sha256_of(result.path / MANIFEST),
            {**_shown(result, labels, preview), "leftovers_removed": remove_leftovers(lake.layout)},
            verdicts,
        ),
    )


def _shown(result: DatasetResult, labels: Mapping[str, int], preview: pl.DataFrame) -> dict[str, Any]:
    manifest = result.manifest
    counts = manifest["counts"]
    title = f"Labelled examples of the dataset of {result.last_day}"
    most = max(labels.values(), default=0)
    rows = [
        (
            label,
            *(manifest["labels"][side].get(label, {}).get("count", 0) for side in SPLITS),
            metadata.bar(count, most),
        )
        for label, count in labels.items()
    ]
    return {
        "labels": metadata.rows_of(("label", *SPLITS, ""), rows),
        "preview": metadata.frame(preview),
        "chart": metadata.chart(list(labels.items()), of="label", title=title, unit="examples"),
        "version": result.version,
        "folder": dg.MetadataValue.path(str(result.path.absolute())),
        "sha256": sha256_of(result.path / MANIFEST),
        "bytes": sum(file["bytes"] for file in manifest["files"].values()),
        "dagster/row_count": counts["examples"],
        **{name: count for name, count in counts.items() if isinstance(count, int)},
        "left_out_by_group_cap": counts["left_out"].get("group_cap", 0),
        "group_caps": metadata.rows_of(
            CAP_COLUMNS, [tuple(cap[name] for name in CAP_COLUMNS) for cap in manifest["group_caps"]]
        ),
        "days_in_window": len(manifest["inputs"]),
        "days_missing": metadata.spans([date.fromisoformat(day) for day in manifest["days_missing"]]),
        **metadata.shares(labels),
        "dagster/column_schema": metadata.columns(result.path / EXAMPLES_FILE, MEANINGS["training_dataset"]),
        "manifest": dg.MetadataValue.json(_short_manifest(manifest)),
        **metadata.open_mark(result.last_day),
    }


def _short_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest with only the most frequent unknown models: a source may invent one for every example."""
    unknown = sorted(manifest["unknown_models"].items(), key=lambda found: (-found[1], found[0]))
    return {**manifest, "unknown_models": dict(unknown[: metadata.MAX_NAMED])}


def _split_verdict(path: Path) -> checks.Verdict:
    """Compare the questions themselves, folded here, instead of relying on the hash that chose their side.

    polars folds much faster than Python, but as a later version of Unicode says: it takes some questions for one that
    Python, by which sides are chosen, tells apart. So what it finds is compared again.
    """
    folded = pl.col("text").str.to_lowercase().str.replace_all(r"\s+", "").str.replace_all(r"\d+", "0")
    sides = (
        pl.scan_parquet(path, glob=False)
        .select(folded.hash().alias("folded"), "split")
        .group_by("folded")
        .agg(pl.col("split").n_unique().alias("sides"))
        .select(pl.len(), (pl.col("sides") > 1).sum())
        .collect()
    )
    questions, shared = sides.row(0)
    return checks.split_disjoint(questions=questions, shared=shared and _shared_questions(path))


def _shared_questions(path: Path) -> int:
    """Return how many questions are on several sides, without case, white space and the values of numbers."""
    side: dict[bytes, str] = {}
    shared: set[bytes] = set()
    for part in frames_of(path, ["text", "split"]):
        for text, split in part.iter_rows():
            folded = re.sub(r"\d+", "0", "".join(text.casefold().split()))
            digest = hashlib.blake2b(folded.encode(), digest_size=16).digest()
            if side.setdefault(digest, split) != split:
                shared.add(digest)
    return len(shared)


def _files_verdict(lake: Lake, result: DatasetResult) -> checks.Verdict:
    try:
        verify_dataset(lake.layout, result.version)
    except DatasetError as error:
        return checks.Verdict("files_verify", False, str(error))
    return checks.Verdict(
        "files_verify", True, f"every file of {result.version} has the hash that dataset.json says"
    )
