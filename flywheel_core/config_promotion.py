"""Settings that decide when a challenger replaces the champion."""

from pydantic import Field

from flywheel_core.config_fields import Days, Section, Share


class Promotion(Section):
    """When a challenger replaces the champion. Gains are differences of utility per question, score 0..1."""

    automatic: bool = Field(
        True, description="Whether the nightly run promotes by itself; otherwise it only judges."
    )
    error_level: float = Field(
        0.05,
        gt=0,
        le=0.5,
        description="Probability, over all looks since a champion's promotion, that a challenger that is no better replaces it.",
    )
    min_gain: Share = Field(0.0, description="The lower bound of the gain must be above this.")
    min_questions: int = Field(
        200, ge=20, le=1_000_000, description="With fewer test questions than this, nothing is decided."
    )
    look_growth: float = Field(
        0.2,
        ge=0,
        le=10,
        description="Share by which test questions must have grown since the last look; fewer looks make each one sharper.",
    )
    window_days: Days = Field(
        14,
        ge=1,
        le=3_650,
        description="A challenger is judged on all test questions since the champion's promotion, and separately on those of this many last days.",
    )
    window_questions: int = Field(
        1_000,
        ge=20,
        le=1_000_000,
        description="How many of the newest test questions it is judged on separately if those days hold fewer.",
    )
    max_questions: int = Field(
        50_000,
        ge=1_000,
        le=10_000_000,
        description="Most test questions that judge a challenger, the newest days' first; never fewer than min_questions and window_questions.",
    )
    min_slice_questions: int = Field(
        100,
        ge=20,
        le=1_000_000,
        description="Test questions that a category of the champion needs to be a slice.",
    )
    max_slice_loss: Share = Field(
        0.1, description="A slice whose gain has a lower 95 % bound below minus this stops the promotion."
    )
    max_age_days: Days = Field(
        90,
        ge=1,
        le=3_650,
        description="Age from which a champion may be replaced by a challenger that is not worse.",
    )
    age_margin: Share = Field(
        0.01, description="How much worse, at most, the successor of a champion past that age may be."
    )
