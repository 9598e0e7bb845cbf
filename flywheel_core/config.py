"""The one configuration: every setting with its unit, range, default and a sentence.

`flywheel_core/config_file.py` reads it from YAML and the environment. `data_collection`, `cache` and `routing` keep
the names that gateways already use; the other sections hold what those leave open.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from flywheel_core.errors import ConfigIncompleteError

DEFAULT_CANDIDATES: tuple[str, ...] = (
    "qwen-max",
    "qwen-math-7b",
    "qwen-code-7b",
    "qwen-medicine-7b",
    "qwen-writing-7b",
)
"""The models of the default configuration that questions go to."""

TieRule = Literal["cheaper", "faster", "declared"]

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


def _http_url(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme not in ("http", "https") or not rest or any(mark.isspace() for mark in text):
        raise ValueError("an address begins with http:// or https:// and has no white space")
    return text.rstrip("/")


Url = Annotated[str, AfterValidator(_http_url)]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, types are taken strictly, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Training(Section):
    """How questions are asked, scored and uploaded in training mode."""

    candidate_models: list[Name] = Field(
        default_factory=lambda: list(DEFAULT_CANDIDATES),
        min_length=1,
        max_length=64,
        description="Models that each collected question goes to, in declared order; each must be in `models`.",
    )
    evaluate_endpoint: Url | None = Field(
        None, description="Address of the scorer, the whole path included (…/v1/evaluate)."
    )
    evaluate_timeout: int = Field(5_000, ge=1, le=600_000, description="Time for one scoring, in ms.")
    batch_size: int = Field(10, ge=1, le=1_000, description="Data points a batch is sent at.")
    flush_interval: float = Field(
        60, gt=0, le=86_400, description="Longest time a data point waits for its batch to fill, in s."
    )


class Production(Section):
    """What is collected in production mode."""

    sampling_rate: Share = Field(0.0, description="Share of requests collected in production mode, 0..1.")
    baseline: bool = Field(
        False, description="Ask one random other model beside the predicted one instead of all candidates."
    )


class DataCollection(Section):
    """What is collected, how and where it goes."""

    enabled: bool = Field(True, description="Whether anything is collected at all.")
    mode: Literal["training", "production"] = Field(
        "training",
        description="training: route and collect; production: route, collect by production.sampling_rate.",
    )
    sampling_rate: Share = Field(1.0, description="Share of requests collected in training mode, 0..1.")
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
        True, description="Whether a request with X-Training-Mode: true is collected whatever the mode."
    )
    multi_turn: bool = Field(
        False, description="Whether requests with earlier turns are collected, rendered by the prompt rule."
    )
    point_timeout: float = Field(
        30.0, gt=0, le=600, description="Time budget of one data point, retries and scoring included, in s."
    )
    max_in_flight: int = Field(
        64, ge=1, le=10_000, description="Data points collected at once; more are skipped and counted."
    )
    retry_budget: Share = Field(0.1, description="Retries allowed as a share of first calls, 0..1.")
    score_repeats: int = Field(
        1, ge=1, le=16, description="How often each answer is scored; mean and spread are kept."
    )
    max_cost_per_day: float | None = Field(
        None,
        ge=0,
        description="Collection stops for the UTC day once models and scorer cost this much; none: no limit.",
    )
    score_cost: float = Field(
        0.0, ge=0, description="What one scoring costs, in the currency of the models' prices."
    )
    api_key_env: Name | None = Field(
        None, description="Name of the environment variable with the collector's key (<key_id>.<secret>)."
    )
    spool_max_bytes: int = Field(
        1_073_741_824,
        ge=1_048_576,
        description="Size of the upload spool on disk, in bytes; beyond it points are dropped and counted.",
    )


class Cache(Section):
    """The gateway's cache of routing decisions."""

    enabled: bool = Field(True, description="Whether decisions are cached.")
    max_entries: int = Field(10_000, ge=1, le=10_000_000, description="Decisions kept at most.")
    ttl: float = Field(3_600, gt=0, le=604_800, description="How long a decision is kept, in s.")


class Routing(Section):
    """How a question finds its model."""

    default_model: Name = Field("qwen-max", description="Model that answers when nothing better is known.")
    timeout: float = Field(
        5.0, gt=0, le=60, description="Time for one routing decision, in s; then the default model answers."
    )
    fallback_models: list[Name] = Field(
        default_factory=list,
        max_length=64,
        description="Models tried in this order when the chosen one fails; empty: the default model.",
    )


class Model(Section):
    """One candidate model behind the gateway."""

    category: Name | None = Field(
        None, description="The domain the model stands for: the label of questions it answers best."
    )
    base_url: Url | None = Field(None, description="Address in front of /v1/chat/completions, without /v1.")
    upstream_name: Name | None = Field(
        None, description="The model's name at that address; none: the same name."
    )
    api_key_env: Name | None = Field(
        None, description="Name of the environment variable with the model's key."
    )
    input_price: float = Field(0.0, ge=0, description="Price per million prompt tokens.")
    output_price: float = Field(0.0, ge=0, description="Price per million completion tokens.")
    connect_timeout: float = Field(2.0, gt=0, le=600, description="Time to connect, in s.")
    timeout: float = Field(25.0, gt=0, le=600, description="Time for one whole answer, in s.")
    max_concurrency: int = Field(256, ge=1, le=10_000, description="Calls under way at once for collection.")


class Labelling(Section):
    """How the best model of a data point becomes its label."""

    min_score: Share = Field(0.5, description="A best score below this gives no label, 0..1.")
    tie_tolerance: Share = Field(0.02, description="Scores this close to the best are ties, 0..1.")
    tie_preference: list[TieRule] = Field(
        default_factory=lambda: list[TieRule](("cheaper", "faster", "declared")),
        min_length=1,
        description="What decides ties, in order; declared is the order of training.candidate_models.",
    )


class Dataset(Section):
    """What goes into a training dataset."""

    window_days: int = Field(
        30, ge=1, le=3_650, description="Days that a dataset looks back, its last day included."
    )
    balance: Literal["none", "downsample", "upsample"] = Field(
        "none",
        description="Whether labels of the training split are evened out: none, downsample or upsample.",
    )
    seed: int = Field(0, ge=0, description="Seed of the choice that balancing makes.")
    min_examples: int = Field(
        50, ge=1, description="Labelled examples below which the dataset's check fails."
    )
    min_labels: int = Field(2, ge=1, description="Different labels below which the dataset's check fails.")
    max_group_share: Share = Field(
        1.0,
        description="Largest share of a label that one source or tenant may give; what is above is left out and reported.",
    )


class Storage(Section):
    """Where data lies and how much room it must leave."""

    data_dir: Path = Field(Path("data"), strict=False, description="The data folder.")
    disk_floor_bytes: int = Field(
        536_870_912, ge=0, description="Free disk space below which the collector answers 503, in bytes."
    )
    memory_limit_mb: int = Field(512, ge=64, le=1_048_576, description="Memory that DuckDB may use, in MB.")
    first_day: str = Field(
        "2025-01-01",
        pattern=r"^\d{4}-\d\d-\d\d$",
        description="First daily partition in Dagster, YYYY-MM-DD.",
    )


class Server(Section):
    """Bounds that every server keeps."""

    host: Name = Field("127.0.0.1", description="Address to listen on; loopback unless told otherwise.")
    port: Port = Field(8080, description="Port to listen on; 0 takes a free one.")
    allow_anonymous: bool = Field(
        False, description="Whether requests without a key are taken on other addresses than loopback."
    )
    max_body_bytes: int = Field(
        8_388_608, ge=1_024, le=1_073_741_824, description="Largest body as sent, in bytes."
    )
    max_unpacked_bytes: int = Field(
        33_554_432, ge=1_024, le=4_294_967_296, description="Largest body once unpacked, in bytes."
    )
    header_timeout: float = Field(
        10.0, gt=0, le=600, description="Time for all headers of a request to arrive, in s."
    )
    body_timeout: float = Field(
        30.0, gt=0, le=3_600, description="Time for a request's whole body to arrive, in s."
    )
    idle_timeout: float = Field(
        60.0, gt=0, le=3_600, description="Time a connection may stay silent between requests, in s."
    )
    max_connections: int = Field(2_048, ge=1, le=100_000, description="Connections open at once.")
    drain_timeout: float = Field(
        8.0, gt=0, le=600, description="Time for requests under way to end on SIGTERM, in s."
    )


class Collector(Server):
    """The collector API."""

    max_batch_points: int = Field(1_000, ge=1, le=100_000, description="Data points a batch may have.")
    max_queue_bytes: int = Field(
        134_217_728, ge=1_048_576, description="Bytes waiting to be stored, beyond which 503 is answered."
    )
    commit_bytes: int = Field(
        2_097_152, ge=65_536, le=134_217_728, description="Bytes written and synced at once, at most."
    )


class Gateway(Server):
    """The gateway."""

    port: Port = Field(8001, description="Port to listen on; 0 takes a free one.")
    allow_private_upstreams: bool = Field(
        True, description="Whether models may live on private and loopback addresses; link-local ones never."
    )
    user_secret_env: Name | None = Field(
        None,
        description="Name of the environment variable with the secret that users are hashed with; none: users are not recorded.",
    )


class Operations(Section):
    """Schedules, checks and alarms of the Dagster project."""

    failure_webhook_env: Name | None = Field(
        None, description="Name of the environment variable with the address that run failures are posted to."
    )
    max_rejected_share: Share = Field(
        0.05, description="Share of rejected lines above which the check fails, 0..1."
    )
    max_label_drift: Share = Field(
        0.25,
        description="Total variation distance of a day's labels to the trailing week above which the check warns, 0..1.",
    )
    rewrite_check_interval: int = Field(
        60, ge=30, le=86_400, description="Time between looks for late or rewritten days, in s."
    )


def _default_models() -> dict[str, Model]:
    """The models of the public routing challenge; prices are those of the simulation."""
    models = {"qwen-max": Model(category="general", input_price=2.4, output_price=9.6)}
    for category in ("math", "code", "medicine", "writing"):
        for size, price in (("32b", 0.8), ("7b", 0.2), ("3b", 0.1)):
            models[f"qwen-{category}-{size}"] = Model(
                category=category, input_price=price, output_price=price * 3
            )
    return models


class Config(Section):
    """All of Flywheel's settings."""

    data_collection: DataCollection = Field(
        default_factory=DataCollection, description="What is collected and where it goes."
    )
    cache: Cache = Field(default_factory=Cache, description="The gateway's cache of decisions.")
    routing: Routing = Field(default_factory=Routing, description="How a question finds its model.")
    models: dict[Name, Model] = Field(
        default_factory=_default_models,
        min_length=1,
        max_length=64,
        description="The candidate models; when given, it replaces the default table.",
    )
    labelling: Labelling = Field(default_factory=Labelling, description="How the best model becomes a label.")
    dataset: Dataset = Field(default_factory=Dataset, description="What goes into a training dataset.")
    storage: Storage = Field(default_factory=Storage, description="Where data lies.")
    collector: Collector = Field(default_factory=Collector, description="The collector API.")
    gateway: Gateway = Field(default_factory=Gateway, description="The gateway.")
    operations: Operations = Field(default_factory=Operations, description="Schedules, checks and alarms.")

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        candidates = self.data_collection.training.candidate_models
        named = [("data_collection.training.candidate_models", name) for name in candidates]
        named.append(("routing.default_model", self.routing.default_model))
        named.extend(("routing.fallback_models", name) for name in self.routing.fallback_models)
        for path, name in named:
            if name not in self.models:
                raise PydanticCustomError(
                    "unknown_model",
                    "{name} is not in models; known are {known}",
                    {"path": path, "name": name, "known": ", ".join(self.models)},
                )
        return self

    def categories(self) -> dict[str, str]:
        """Model -> category, of the models that have one."""
        return {name: model.category for name, model in self.models.items() if model.category is not None}

    def declared_order(self) -> list[str]:
        """Candidate models first, in their order, then the other models in theirs."""
        return list(dict.fromkeys([*self.data_collection.training.candidate_models, *self.models]))

    def require(self, path: str) -> Any:
        """The value at a dotted path such as `data_collection.training.evaluate_endpoint`.

        Raises ConfigIncompleteError, naming the field, when it is left open.
        """
        value: Any = self
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else getattr(value, part)
            if value is None:
                raise ConfigIncompleteError(
                    f"the configuration leaves {path} open", hint=f"set {path} and try again"
                )
        return value
