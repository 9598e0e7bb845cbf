"""What the gateway works with at one moment: the configuration, and everything derived from it alone.

A changed configuration makes a new `Setup`; requests in progress finish with the one they started with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from flywheel_core.collect.addresses import Guard, check_address, guard_of
from flywheel_core.collect.calls import proxy_of
from flywheel_core.config import Config
from flywheel_core.config_file import secret
from flywheel_core.errors import ConfigError
from flywheel_core.learn.decision import Decision
from flywheel_gateway.failing import FailingModels
from flywheel_gateway.routing import Decider, Router

EVALUATE_ENDPOINT = "data_collection.training.evaluate_endpoint"


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how one model is asked. key: the model's own; connect_timeout, timeout: in seconds.

    api_url: what stands for /v1 there; extra_body: fields of every request to it; stream_usage: whether to
    ask for the token counts of streams; stream_only: whether it answers nothing but streams; proxy: address of the HTTP proxy on the way, or None.
    """

    name: str
    api_url: str
    upstream_name: str
    extra_body: Mapping[str, Any]
    key: str | None
    connect_timeout: float
    timeout: float
    stream_usage: bool
    stream_only: bool
    proxy: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Setup:
    """The configuration and what is derived from it.

    targets: model -> where to ask it, for every model that has an address; user_secret: key of the HMAC that
    hides user ids, None if they are dropped; guard: which addresses models may have; failing: which models keep
    failing under this configuration.
    """

    config: Config
    targets: Mapping[str, Target]
    decider: Decider
    user_secret: bytes | None
    guard: Guard
    failing: FailingModels = field(default_factory=FailingModels)

    def order(self, decision: Decision, *, named: bool, streamed: bool) -> list[Target]:
        """Return the models to try, in order: those that keep failing last.

        named: the client named the model, so no other may answer; streamed: it asks for a stream, as some models insist.
        """
        if named:
            return [self.targets[decision.model]]
        routing = self.config.routing
        names = [decision.model, *(routing.fallback_models or [routing.default_model])]
        targets = [self.targets[name] for name in dict.fromkeys(names)]
        able = [target for target in targets if streamed or not target.stream_only]
        return self.failing.order(able or targets)


def make_setup(config: Config, router: Router | None = None) -> Setup:
    """Return the setup of a configuration.

    Raises ConfigIncompleteError when the default, a fallback or a candidate model or the scorer has no
    address, or a named environment variable is not set; ConfigError for an address that is not permitted, a
    key that no header can carry, or a variable that holds no address of a proxy.
    """
    collection = config.data_collection
    needed = [f"models.{name}.base_url" for name in config.models_in_use()]
    if collection.enabled:
        needed.append(EVALUATE_ENDPOINT)
    config.require_all(needed)
    guard = Guard(config.network.allow_link_local, config.gateway.allow_private_upstreams)
    if collection.enabled:
        for where in ("data_collection.storage_endpoint", EVALUATE_ENDPOINT):
            check_address(where, config.require(where), guard_of(config))
    targets = {}
    for name, model in config.models.items():
        if model.base_url is None:
            continue
        proxy = proxy_of(model, name)
        if proxy is None:
            check_address(f"models.{name}.base_url", model.base_url, guard)
        else:  # the gateway connects to nothing else
            check_address(f"models.{name}.proxy_env", proxy, guard)
        _check_plain(name, model.base_url)
        key = model.api_key_env and secret(model.api_key_env, f"models.{name}.api_key_env")
        if key and not (key.isascii() and key.isprintable()):
            raise ConfigError(f"the key in {model.api_key_env} has characters that no header can have")
        targets[name] = Target(
            name,
            model.base_url + model.api_path,
            model.upstream_name or name,
            model.extra_body,
            key,
            model.connect_timeout,
            model.timeout,
            model.stream_usage,
            model.stream_only,
            proxy,
        )
    variable = config.gateway.user_secret_env
    user_secret = secret(variable, "gateway.user_secret_env").encode() if variable else None
    return Setup(config, targets, Decider(config, targets, router), user_secret, guard)


def _check_plain(name: str, base_url: str) -> None:
    """Raise ConfigError unless a path can be appended to a model's address: host, port and path alone."""
    url = URL(base_url)
    if not url.raw_host or url.raw_user or url.raw_password or url.raw_query_string or url.raw_fragment:
        raise ConfigError(
            f"models.{name}.base_url: {base_url!r} is not an address of host, port and path alone"
        )
