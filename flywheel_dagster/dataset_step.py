"""Makes the training dataset that ends with a day, and shows and checks what is in it. Part of `steps.py`."""

from collections.abc import Sequence
from datetime import date

import dagster as dg
import polars as pl

from flywheel_core.errors import DatasetError, NoDataError
from flywheel_core.lake.dataset import DatasetResult, build_dataset, verify_dataset
from flywheel_core.lake.layout import sha256_of
from flywheel_dagster import checks, metadata
from flywheel_dagster.days import Outcome
from flywheel_dagster.resources import Lake

NAME = "training_dataset"
PREVIEW_ROWS = 8


def make_dataset(lake: Lake, day: date) -> Sequence[Outcome]:
    """The window that ends with `day` -> a dataset version; nothing is made of a window without a labelled example."""
    needed = lake.config.dataset
    try:
        result = build_dataset(lake.layout, day, lake.config)
    except NoDataError as error:
        verdict = checks.enough_examples(
            labels={}, min_examples=needed.min_examples, min_labels=needed.min_labels
        )
        nothing = checks.Verdict(
            verdict.check, False, str(error), dg.AssetCheckSeverity.WARN, verdict.figures
        )
        return (Outcome(NAME, None, verdicts=(nothing,)),)
    examples = pl.read_parquet(result.path / "examples.parquet")
    labels = dict(examples.group_by("label").len().sort("label").drop_nulls("label").rows())
    return (
        Outcome(
            NAME,
            sha256_of(result.path / "dataset.json"),
            _shown(result, examples, labels, day),
            (
                checks.enough_examples(
                    labels=labels, min_examples=needed.min_examples, min_labels=needed.min_labels
                ),
                _split_verdict(examples),
                _files_verdict(lake, result),
            ),
        ),
    )


def _shown(
    result: DatasetResult, examples: pl.DataFrame, labels: dict[str, int], day: date
) -> dict[str, object]:
    sides = examples.group_by("split").len().sort("split")
    preview = examples.select("question", "label", "split").head(PREVIEW_ROWS)
    return {
        "version": result.version,
        "folder": dg.MetadataValue.path(str(result.path.absolute())),
        "sha256": sha256_of(result.path / "dataset.json"),
        "dagster/row_count": examples.height,
        "examples": examples.height,
        **{f"examples_{side}": count for side, count in sides.rows()},
        **metadata.shares(labels),
        "bytes": sum(path.stat().st_size for path in result.path.iterdir()),
        "chart": metadata.chart(
            list(labels.items()), title=f"Labels of the dataset of {day}", unit="examples"
        ),
        "preview": metadata.frame(preview),
        "manifest": dg.MetadataValue.json(result.manifest),
        **metadata.open_mark(day),
    }


def _split_verdict(examples: pl.DataFrame) -> checks.Verdict:
    """Looks at the questions themselves, folded here, and not at the hash that chose their side."""
    folded = pl.col("question").str.to_lowercase().str.replace_all(r"\s+", "").str.replace_all(r"\d+", "0")
    sides = examples.group_by(folded.alias("folded")).agg(pl.col("split").n_unique().alias("sides"))
    return checks.split_disjoint(sides=sides.height, shared=sides.filter(pl.col("sides") > 1).height)


def _files_verdict(lake: Lake, result: DatasetResult) -> checks.Verdict:
    try:
        verify_dataset(lake.layout, result.version)
    except DatasetError as error:
        return checks.Verdict("files_verify", False, str(error))
    return checks.Verdict(
        "files_verify", True, f"every file of {result.version} has the hash that dataset.json says"
    )
