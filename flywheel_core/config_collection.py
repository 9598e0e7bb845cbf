"""Settings for collection: which models are asked, what scores their answers, where data points are sent."""

from typing import Literal

from pydantic import Field

from flywheel_core.config_fields import (
    Bytes,
    Milliseconds,
    Money,
    Name,
    Seconds,
    Section,
    Share,
    Url,
    VariableName,
)

DEFAULT_CANDIDATES: tuple[str, ...] = (
    "qwen-max",
    "qwen-math-7b",
    "qwen-code-7b",
    "qwen-medicine-7b",
    "qwen-writing-7b",
)
"""The candidate models of the default configuration."""


class Training(Section):
    """How questions are asked, scored and uploaded in training mode."""

    candidate_models: list[Name] = Field(
        list(DEFAULT_CANDIDATES),
        min_length=1,
        max_length=64,
        description="Models that each collected question goes to, in declared order; each must be in `models`.",
    )
    evaluate_endpoint: Url | None = Field(
        None, description="Address of the scorer, the whole path included (…/v1/evaluate)."
    )
    evaluate_timeout: Milliseconds = Field(5_000, ge=1, le=600_000, description="Time for one scoring.")
    batch_size: int = Field(10, ge=1, le=1_000, description="Number of data points at which a batch is sent.")
    flush_interval: Seconds = Field(
        60, gt=0, le=86_400, description="Longest time a data point waits for its batch to fill."
    )


class Production(Section):
    """What is collected in production mode."""

    sampling_rate: Share = Field(0.0, description="Share of requests collected in production mode.")
    baseline: bool = Field(
        False, description="Ask the predicted model and one random other instead of all candidates."
    )


class DataCollection(Section):
    """What is collected, how and where it goes."""

    enabled: bool = Field(True, description="Whether anything is collected at all.")
    mode: Literal["training", "production"] = Field(
        "training",
        description="training: route and collect; production: route, collect by production.sampling_rate.",
    )
    sampling_rate: Share = Field(1.0, description="Share of requests collected in training mode.")
    storage_endpoint: Url = Field(
        "http://127.0.0.1:8080/collect", description="Address of the collector, the path /collect included."
    )
    training: Training = Field(
        default_factory=Training, description="Training mode: models, scorer, batches."
    )
    production: Production = Field(
        default_factory=Production, description="Production mode: sampling, baseline."
    )
    training_header: bool = Field(
        True,
        description="Whether a request with X-Training-Mode: true is collected whatever the mode and the sampling rate.",
    )
    multi_turn: bool = Field(
        False,
        description="Whether requests with earlier turns, tools, images or n above 1 are collected; several turns are then routed and scored as one text.",
    )
    point_timeout: Seconds = Field(
        30.0, gt=0, le=600, description="Time budget of one data point, retries and scoring included."
    )
    max_in_flight: int = Field(
        64, ge=1, le=10_000, description="Data points collected at once; more are skipped and counted."
    )
    retry_budget: Share = Field(0.1, description="Retries allowed as a share of first calls.")
    score_repeats: int = Field(
        1, ge=1, le=16, description="How often each answer is scored; mean and spread are kept."
    )
    max_cost_per_day: Money | None = Field(
        None,
        description="Collection stops for the UTC day once models and scorer have cost this much; data points under way are finished. Each gateway process counts for itself: two may spend twice as much; null: no limit.",
    )
    score_cost: Money = Field(0.0, description="What one scoring costs.")
    api_key_env: VariableName | None = Field(
        None, description="Name of the environment variable with the collector's key (key_id.secret)."
    )
    spool_max_bytes: Bytes = Field(
        1_073_741_824,
        ge=1_048_576,
        description="Size of the upload spool on disk; beyond it points are dropped and counted.",
    )
