"""What the gateway works by at one moment: the configuration, and everything that follows from it alone.

A changed configuration makes a new `Setup`; requests under way finish with the one they began with.
"""

import ipaddress
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from yarl import URL

from flywheel_core.config import Config
from flywheel_core.config_file import secret
from flywheel_core.errors import ConfigError
from flywheel_gateway.routing import Decider, Decision, Router

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where one model is asked. key: its own key; connect_timeout, timeout: in s."""

    name: str
    base_url: str
    upstream_name: str
    key: str | None
    connect_timeout: float
    timeout: float


@dataclass(frozen=True, slots=True)
class Setup:
    """See the module. targets: model -> where it is asked, for every model that has an address."""

    config: Config
    targets: Mapping[str, Target]
    decider: Decider
    user_secret: bytes | None

    def order(self, decision: Decision, *, named: bool) -> list[Target]:
        """The models to try, in order. named: the client asked for this very model, so no other may answer."""
        if named:
            return [self.targets[decision.model]]
        routing = self.config.routing
        names = [decision.model, *(routing.fallback_models or [routing.default_model])]
        return [self.targets[name] for name in dict.fromkeys(names)]


def make_setup(
    config: Config, router: Router | None = None, environment: Mapping[str, str] | None = None
) -> Setup:
    """The setup of a configuration. `environment` is os.environ unless given.

    Raises ConfigIncompleteError when the default model or a fallback model has no address or a named variable is not
    set, ConfigError for an address that models may not have.
    """
    routing = config.routing
    for name in dict.fromkeys([routing.default_model, *routing.fallback_models]):
        config.require(f"models.{name}.base_url")
    targets = {}
    for name, model in config.models.items():
        if model.base_url is None:
            continue
        _check_address(name, model.base_url, allow_private=config.gateway.allow_private_upstreams)
        key = model.api_key_env and secret(model.api_key_env, f"models.{name}.api_key_env", environment)
        if key and not (key.isascii() and key.isprintable()):
            raise ConfigError(f"the key in {model.api_key_env} has characters that no header can have")
        targets[name] = Target(
            name, model.base_url, model.upstream_name or name, key, model.connect_timeout, model.timeout
        )
    variable = config.gateway.user_secret_env
    user_secret = secret(variable, "gateway.user_secret_env", environment).encode() if variable else None
    return Setup(config, targets, Decider(config, targets, router), user_secret)


def _check_address(name: str, base_url: str, *, allow_private: bool) -> None:
    """Refuse a model on a link-local address (cloud metadata), and on a private one where the setting says so.

    Names are resolved now; one that does not resolve yet is let through.
    """
    where = f"models.{name}.base_url"
    try:
        url = URL(base_url)
    except ValueError as error:
        raise ConfigError(f"{where}: {base_url!r} is not an address: {error}") from None
    host = url.raw_host
    if not host or url.raw_user or url.raw_password or url.raw_query_string or url.raw_fragment:
        raise ConfigError(f"{where}: {base_url!r} is not an address of host, port and path alone")
    try:
        found = socket.getaddrinfo(host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        logger.warning("address_unknown", extra={"setting": where, "host": host, "reason": str(error)})
        return
    for text in {str(entry[4][0]) for entry in found}:
        ip = ipaddress.ip_address(text.partition("%")[0])
        mapped = getattr(ip, "ipv4_mapped", None)
        ip = mapped or ip
        if ip.is_link_local or ip.is_unspecified or ip.is_multicast:
            raise ConfigError(f"{where}: {host} is {ip}; models may not live there")
        if not allow_private and (ip.is_private or ip.is_loopback):
            raise ConfigError(
                f"{where}: {host} is {ip}, a private address",
                hint="set gateway.allow_private_upstreams: true if that is meant",
            )
