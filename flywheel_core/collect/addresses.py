"""Which addresses models, scorer and collector may have: none where clouds serve credentials.

An address is checked twice: when the configuration is read, because that gives the better message, and at
every connection, because a name may resolve to something else by then. Both HTTP clients, the fan-out's and
the gateway's, connect through `Guard`.
"""

import ipaddress
import logging
import socket
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from flywheel_core.config import Config
from flywheel_core.errors import ConfigError, UpstreamError

logger = logging.getLogger(__name__)

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    )
)
"""Metadata services of clouds outside the link-local range: AWS and Google (IPv6), Alibaba, Azure, Oracle."""

_TRANSLATED = tuple(
    map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96"))
)
"""IPv6 ranges that a translator (NAT64, SIIT) or tunnel maps to the IPv4 address in their last 32 bits."""


class BlockedAddressError(OSError):
    """A connection was refused because of its address. All addresses of a name give the same message."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Opens the sockets of outgoing connections, or refuses to.

    allow_link_local: `network.allow_link_local`; allow_private: whether private and loopback addresses are
    allowed.
    """

    allow_link_local: bool = False
    allow_private: bool = True

    def refusal(self, address: str) -> str | None:
        """Return why an IP address (with or without a zone) is refused, or None if it is allowed."""
        ip = _effective(ipaddress.ip_address(address.partition("%")[0]))
        if ip.is_unspecified or ip.is_multicast:
            return "the address is unspecified or multicast"
        if ip.is_link_local or ip in METADATA:
            return (
                None if self.allow_link_local else "the address is link-local or a cloud's metadata service"
            )
        if not self.allow_private and (ip.is_private or ip.is_loopback):
            return "the address is private"
        return None

    def open_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Open the socket for a resolved address; aiohttp's socket factory. Raises BlockedAddressError."""
        family, kind, protocol, _, address = info
        reason = self.refusal(str(address[0]))
        if reason is not None:
            raise BlockedAddressError(reason)
        return socket.socket(family=family, type=kind, proto=protocol)


def guard_of(config: Config) -> Guard:
    """Return the guard for scorer, collector and the fan-out's models."""
    return Guard(allow_link_local=config.network.allow_link_local)


def refused(error: aiohttp.ClientConnectorError) -> UpstreamError | None:
    """Return the `address_blocked` error if the guard prevented a connection, else None."""
    blocked = error.os_error
    if isinstance(blocked, BlockedAddressError):
        return UpstreamError(f"{error.host}: {blocked}", code="address_blocked")
    return None


def check_address(where: str, address: str, guard: Guard) -> None:
    """Refuse a configured address that the guard would refuse now.

    Names are resolved; a name that does not resolve yet is accepted. Raises ConfigError, which names the
    setting `where`.
    """
    try:
        url = URL(address)
    except ValueError as error:
        raise ConfigError(f"{where}: {address!r} is not an address: {error}") from None
    host = url.raw_host
    try:
        found = socket.getaddrinfo(host, url.port, type=socket.SOCK_STREAM) if host else []
    except (OSError, UnicodeError) as error:
        logger.warning("address_unknown", extra={"setting": where, "host": host, "reason": str(error)})
        return
    for ip in {str(entry[4][0]) for entry in found}:
        reason = guard.refusal(ip)
        if reason is not None:
            raise ConfigError(
                f"{where}: {ip if host == ip else f'{host} is {ip}'}: {reason}",
                hint="network.allow_link_local and gateway.allow_private_upstreams say which addresses are allowed",
            )


def _effective(ip: IPAddress) -> IPAddress:
    """Return the IPv4 address that an IPv6 address stands for, or else the address itself."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if any(ip in network for network in _TRANSLATED):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
