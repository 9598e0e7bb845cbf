"""Decide who may send requests: by key, by address, or anyone if the configuration allows it."""

import ipaddress
import logging
import socket
from collections.abc import Mapping
from functools import lru_cache

from flywheel_core.errors import RequestError, UsageError
from flywheel_core.serve.keys import KeyStore

log = logging.getLogger("flywheel.serve")

ANONYMOUS = "anonymous"
LOCAL = "local"

HOST_HINT = "--host takes an address of this machine: 127.0.0.1, or 0.0.0.0 for all that it has"


class Access:
    """Determines the source of a request from its Authorization header.

    With a key, it is the key's source. Without one, it is `anonymous` where that is allowed, or `local` on a
    loopback address as long as no key is configured; any other request is refused.
    """

    def __init__(self, keys: KeyStore, host: str, *, allow_anonymous: bool) -> None:
        """Load the keys.

        Raises UsageError when `host` is reachable from outside and unprotected, StorageError when the keys
        are unreadable.
        """
        self._keys = keys
        self._loopback = is_loopback(host)
        self._allow_anonymous = allow_anonymous
        configured = bool(keys.all())
        if not (configured or self._loopback or allow_anonymous):
            raise UsageError(
                f"{host} can be reached from outside, and no key is configured",
                hint="make a key with `flywheel keys create SOURCE` (for the gateway with --gateway), listen on 127.0.0.1, or set allow_anonymous: true",
            )
        if allow_anonymous:
            log.warning("anonymous_requests_allowed", extra={"host": host, "source": ANONYMOUS})

    def source(self, headers: Mapping[bytes, bytes]) -> str:
        """Return the source of a request, given its headers with lower-case names.

        Raises RequestError `key_missing`, `key_invalid` or `key_revoked`; `page_refused` for a request that a
        web page makes without a key, because any site that an engineer visits can make the browser post to
        127.0.0.1.
        """
        source = self._sender(headers.get(b"authorization"))
        if source in (ANONYMOUS, LOCAL) and self._from_a_page_elsewhere(headers):
            raise RequestError("page_refused")
        return source

    def _sender(self, authorization: bytes | None) -> str:
        if authorization is not None:
            if self._keys or not (self._loopback or self._allow_anonymous):
                return self._keys.source_of(authorization)
        elif self._allow_anonymous:
            return ANONYMOUS
        if self._loopback and not self._keys:
            return LOCAL
        if self._allow_anonymous:
            return ANONYMOUS
        raise RequestError("key_missing")

    def _from_a_page_elsewhere(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether a browser sent this for a foreign web page, by headers that no page can forge."""
        host = headers.get(b"host", b"")
        origin = headers.get(b"origin")
        if origin is not None and origin.partition(b"://")[2] != host:
            return True
        if headers.get(b"sec-fetch-site") == b"cross-site":
            return True
        # A page's own domain may resolve to a loopback address (DNS rebinding).
        return self._loopback and not _names_this_machine(host)


@lru_cache(maxsize=64)
def _names_this_machine(host: bytes) -> bool:
    """Return whether a Host header can name a loopback address.

    That is an IP address, `*.localhost`, or a name without a dot, which nobody can register.
    """
    name = (
        host.decode("latin-1").rpartition("]")[0].removeprefix("[")
        or host.decode("latin-1").partition(":")[0]
    )
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(".localhost")
    return True


def is_loopback(host: str) -> bool:
    """Return whether every address of `host` is a loopback address.

    Raises UsageError when the host is unknown.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it cannot be the name of a host"
        raise UsageError(f"cannot listen on {host!r}: {why}", hint=HOST_HINT) from None
    return all(ipaddress.ip_address(entry[4][0]).is_loopback for entry in found)
