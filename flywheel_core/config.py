"""The whole configuration: every setting with its unit, range, default and one-sentence description.

`flywheel_core/config_file.py` reads it from YAML and the environment; `flywheel_core/config_schema.py` describes it.
The sections `data_collection`, `cache` and `routing` keep the names that gateways already use; the other sections
hold everything that those three do not cover.
"""

from collections.abc import Iterable
from typing import Any, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from flywheel_core.config_collection import DEFAULT_CANDIDATES, DataCollection, Production, Training
from flywheel_core.config_data import Dataset, Labelling, Storage, TieRule
from flywheel_core.config_fields import (
    ApiPath,
    ExtraBody,
    ModelUrl,
    Money,
    Name,
    Seconds,
    Section,
    VariableName,
)
from flywheel_core.config_promotion import Promotion
from flywheel_core.config_servers import Collector, Gateway, Network, Operations, Server
from flywheel_core.errors import ConfigIncompleteError
from flywheel_core.learn.settings import Learning

__all__ = [
    "DEFAULT_CANDIDATES",
    "Cache",
    "Collector",
    "Config",
    "DataCollection",
    "Dataset",
    "Gateway",
    "Labelling",
    "Learning",
    "Model",
    "Operations",
    "Production",
    "Promotion",
    "Routing",
    "Section",
    "Server",
    "Storage",
    "TieRule",
    "Training",
]


class Cache(Section):
    """The gateway's cache of routing decisions."""

    enabled: bool = Field(True, description="Whether decisions are cached.")
    max_entries: int = Field(10_000, ge=1, le=10_000_000, description="Largest number of decisions kept.")
    ttl: Seconds = Field(3_600, gt=0, le=604_800, description="How long a decision is kept.")


class Routing(Section):
    """How a question finds its model."""

    default_model: Name = Field("qwen-max", description="Model that answers when nothing better is known.")
    timeout: Seconds = Field(
        5.0, gt=0, le=60, description="Time for one routing decision; then the default model answers."
    )
    fallback_models: list[Name] = Field(
        [],
        max_length=64,
        description="Models tried in this order when the chosen one fails; empty: the default model.",
    )


class Model(Section):
    """One candidate model behind the gateway."""

    category: Name | None = Field(
        None, description="The domain the model stands for: the label of questions it answers best."
    )
    base_url: ModelUrl | None = Field(
        None, description="Address in front of `api_path`, without it: for example https://models.example."
    )
    api_path: ApiPath = Field(
        "/v1", max_length=200, description="What stands between `base_url` and /chat/completions."
    )
    upstream_name: Name | None = Field(
        None, description="The model's name at that address; null: the same name."
    )
    extra_body: ExtraBody = Field(
        default_factory=dict,
        max_length=64,
        description="Fields of every request to the model, in place of the client's: for example `{enable_thinking: false}`.",
    )
    api_key_env: VariableName | None = Field(
        None, description="Name of the environment variable with the model's key."
    )
    proxy_env: VariableName | None = Field(
        None,
        description="Name of the environment variable with the address of the HTTP proxy on the way to the model, for example HTTPS_PROXY; null: no proxy.",
    )
    input_price: Money = Field(
        0.0, description="Price per million prompt tokens; a model without prices counts as free."
    )
    output_price: Money = Field(0.0, description="Price per million completion tokens.")
    connect_timeout: Seconds = Field(2.0, gt=0, le=600, description="Time to connect.")
    timeout: Seconds = Field(
        25.0,
        gt=0,
        le=600,
        description="Time for one whole answer; of a stream, for each piece. For models that think longer raise `data_collection.point_timeout` too.",
    )
    stream_usage: bool = Field(
        False,
        description="Ask for the token counts of streams whose clients do not; these get one more event, without choices.",
    )
    stream_only: bool = Field(
        False,
        description="The model answers only with streams: collection asks it for one, and requests without `stream` that left the choice to the gateway go to another model.",
    )
    max_concurrency: int = Field(
        256,
        ge=1,
        le=10_000,
        description="Calls for collection under way at once; requests beyond are not collected.",
    )


def _default_models() -> dict[str, Model]:
    """Return the models of the public routing challenge, with the prices of the simulation."""
    models = {"qwen-max": Model(category="general", input_price=1.6, output_price=6.4)}
    for category in ("math", "code", "medicine", "writing"):
        for size, price in (("32b", 0.4), ("7b", 0.06), ("3b", 0.02)):
            models[f"qwen-{category}-{size}"] = Model(
                category=category, input_price=price, output_price=round(price * 3, 2)
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
        _default_models(),
        min_length=1,
        max_length=64,
        description="The candidate models; when given, it replaces the default table.",
    )
    labelling: Labelling = Field(default_factory=Labelling, description="How the best model becomes a label.")
    dataset: Dataset = Field(default_factory=Dataset, description="What goes into a training dataset.")
    learning: Learning = Field(
        default_factory=Learning, description="How routers are trained and how they decide."
    )
    promotion: Promotion = Field(
        default_factory=Promotion, description="When a challenger replaces the champion."
    )
    storage: Storage = Field(default_factory=Storage, description="Where data lies.")
    collector: Collector = Field(default_factory=Collector, description="The collector API.")
    gateway: Gateway = Field(default_factory=Gateway, description="The gateway.")
    network: Network = Field(default_factory=Network, description="What is connected to.")
    operations: Operations = Field(default_factory=Operations, description="Schedules, checks and alarms.")

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        training = "data_collection.training.candidate_models"
        named = [(f"{training}.{i}", n) for i, n in enumerate(self.data_collection.training.candidate_models)]
        named.append(("routing.default_model", self.routing.default_model))
        named.extend((f"routing.fallback_models.{i}", n) for i, n in enumerate(self.routing.fallback_models))
        unknown = [(path, name) for path, name in named if name not in self.models]
        if unknown:
            raise PydanticCustomError(
                "unknown_models",
                "{count} names are not in models",
                {"count": len(unknown), "unknown": unknown, "known": list(self.models)},
            )
        return self

    def categories(self) -> dict[str, str]:
        """Return model -> category for the models that have a category."""
        return {name: model.category for name, model in self.models.items() if model.category is not None}

    def declared_order(self) -> list[str]:
        """Return the candidate models in their configured order, then the other models in the order of `models`."""
        return list(dict.fromkeys([*self.data_collection.training.candidate_models, *self.models]))

    def models_in_use(self) -> list[str]:
        """Return the models that the gateway or collection asks, each once."""
        routing, collection = self.routing, self.data_collection
        candidates = collection.training.candidate_models if collection.enabled else ()
        return list(dict.fromkeys([routing.default_model, *routing.fallback_models, *candidates]))

    def require(self, path: str) -> Any:
        """Return the value at a dotted path such as `data_collection.training.evaluate_endpoint`.

        Raises ConfigIncompleteError, naming the field, when its value is null or when `models` has no model of that name.
        """
        value: Any = self
        rest = path
        while rest:
            if isinstance(value, dict):  # a model's name may itself contain dots
                fitting = [name for name in value if rest == name or rest.startswith(f"{name}.")]
                if not fitting:
                    raise ConfigIncompleteError(f"the configuration has no {path}")
                part = max(fitting, key=len)
                value = value[part]
            else:
                part = rest.partition(".")[0]
                value = getattr(value, part)
            rest = rest[len(part) + 1 :]
            if value is None:
                raise ConfigIncompleteError(
                    f"the configuration leaves {path} open", hint=f"set {path} and try again"
                )
        return value

    def require_all(self, paths: Iterable[str]) -> None:
        """Raise ConfigIncompleteError when any of these fields is not set, naming every one that is missing."""
        open_ones = [path for path in dict.fromkeys(paths) if self._is_open(path)]
        if open_ones:
            raise ConfigIncompleteError(
                f"the configuration leaves {', '.join(open_ones)} open",
                hint="set them and try again; `flywheel simulate` serves stand-ins for models and scorer",
            )

    def _is_open(self, path: str) -> bool:
        try:
            self.require(path)
        except ConfigIncompleteError:
            return True
        return False
