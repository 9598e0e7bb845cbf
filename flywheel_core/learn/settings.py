"""The settings for training routers and for the decisions of routers."""

from pydantic import Field

from flywheel_core.config_fields import Days, Section, Share


class Learning(Section):
    """How routers are trained and how they decide. Utility is score - lambda_cost x cost - lambda_latency x seconds."""

    failure_score: Share = Field(
        0.0,
        description="Score that a model's own failure counts as; a score that the scorer failed to give is missing.",
    )
    lambda_cost: float = Field(
        0.0, ge=0, le=1e9, description="Score that one unit of currency is worth; 0: quality alone counts."
    )
    lambda_latency: float = Field(
        0.0, ge=0, le=1e6, description="Score that one second of waiting is worth; 0: quality alone counts."
    )
    tie_tolerance: Share = Field(
        0.005,
        description="Expected utilities this close to the best are ties, which the cheapest model wins.",
    )
    confidence_tolerance: Share = Field(
        0.05,
        description="Confidence is the probability that the choice scores no more than this below the best.",
    )
    min_examples: int = Field(
        200,
        ge=20,
        le=1_000_000,
        description="With fewer examples than this, only the best single model is determined.",
    )
    max_examples: int = Field(
        300_000,
        ge=1_000,
        le=10_000_000,
        description="Most examples that a router is trained on; if there are more, those with the lowest hashes. 100,000 need about 1.6 GiB.",
    )
    min_evidence: float = Field(
        10.0,
        ge=1,
        le=1_000_000,
        description="Similar training questions that a model must have answered to be chosen over the best single model.",
    )
    half_life_days: Days | None = Field(
        None,
        ge=1,
        le=3_650,
        description="Age at which an example weighs half; null: all days weigh the same.",
    )
    absent_days: Days = Field(
        7, ge=1, le=3_650, description="A model not asked in this many last days of the window has left."
    )
    dimensions: int = Field(192, ge=4, le=512, description="Latent dimensions of a text in training.")
    folds: int = Field(
        5,
        ge=2,
        le=10,
        description="Folds of the cross-validation inside the training split; fewer above 20,000 examples.",
    )
    trees: int = Field(400, ge=10, le=2_000, description="Trees of the forest.")
    reference_rows: int = Field(
        4_000, ge=100, le=20_000, description="Training questions among which neighbours are sought."
    )
    feature_rows: int = Field(
        4_000, ge=200, le=100_000, description="Texts that the text features are learned from."
    )
    jobs: int = Field(
        2, ge=1, le=64, description="Processor cores used in training; the result does not depend on it."
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Seed of everything drawn in training.")
