"""Settings of the data: how data points get labels, what goes into datasets, and where all of it lies."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from flywheel_core.config_fields import Bytes, Days, DayText, Kind, Megabytes, Section, Share

TieRule = Literal["cheaper", "faster", "declared"]


class Labelling(Section):
    """How the best model of a data point becomes its label."""

    min_score: Share = Field(0.5, description="A best score below this gives no label.")
    tie_tolerance: Share = Field(0.02, description="Scores this close to the best are ties.")
    tie_preference: list[TieRule] = Field(
        ["cheaper", "faster", "declared"],
        min_length=1,
        description="What decides ties, in order; declared is the order of training.candidate_models.",
    )


class Dataset(Section):
    """What goes into a training dataset."""

    window_days: Days = Field(
        30, ge=1, le=3_650, description="Days that a dataset looks back, its last day included."
    )
    balance: Literal["none", "downsample", "upsample"] = Field(
        "none",
        description="Whether labels of the training split are evened out: none, downsample or upsample.",
    )
    seed: int = Field(
        0,
        ge=0,
        le=2**63 - 1,
        description="Seed for choosing which examples caps and balancing leave out.",
    )
    min_examples: int = Field(
        50, ge=1, description="Labelled examples below which the check enough_examples fails."
    )
    min_labels: int = Field(2, ge=1, description="Different labels below which that check fails.")
    max_group_share: Share = Field(
        0.8,
        description="Largest share of a label's training examples, and of all that scores are learned from, that one of several sources or tenants may give; the excess is left out and reported.",
    )
    group_floor: int = Field(
        200,
        ge=0,
        description="Training examples of a label that every source and tenant may give whatever its share; of all examples, as many times this as there are labels.",
    )
    max_weight: int = Field(
        10,
        ge=1,
        le=1_000_000_000,
        description="How often a repeated question counts in training at most, so that an endlessly repeated one does not outweigh the others.",
    )


class Storage(Section):
    """Where data lies and how much room it must leave."""

    data_dir: Annotated[Path, Kind("the path of a folder")] = Field(
        Path("data"), strict=False, description="The data folder."
    )
    disk_floor_bytes: Bytes = Field(
        536_870_912, ge=0, description="Free disk space below which the collector answers 503."
    )
    memory_limit_mb: Megabytes = Field(512, ge=64, le=1_048_576, description="Memory that DuckDB may use.")
    first_day: DayText = Field("2025-01-01", description="First daily partition in Dagster.")
