"""Addresses that servers listen on, and what is said of those that they cannot listen on."""

import socket
from contextlib import closing

import pytest

from flywheel_core.errors import UsageError
from flywheel_core.serve.lifecycle import address_of, listen

IPV6 = pytest.mark.skipif(not socket.has_ipv6, reason="the system has no IPv6")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", pytest.param("::1", marks=IPV6)])
def test_a_client_reaches_the_address_that_is_told(host: str) -> None:
    with closing(listen(host, 0)) as listener:
        address = address_of(listener)
        port = listener.getsockname()[1]
        shown = {"::1": "[::1]", "localhost": "127.0.0.1"}.get(host, host)
        assert address == f"http://{shown}:{port}"
        socket.create_connection((host, port), 30).close()


@pytest.mark.parametrize(
    ("host", "port", "message", "hint"),
    [
        ("", 0, "an empty host", "--host takes an address of this machine"),
        ("192.0.2.1", 0, "192.0.2.1:0", "--host takes an address of this machine"),
        ("a\0b", 0, "cannot be the name of a host", "--host takes an address of this machine"),
        ("ü" * 64, 0, "cannot be the name of a host", "--host takes an address of this machine"),
        ("127.0.0.1", 70_000, "that is not a port", "--port takes a number from 0 to 65535"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_refused(
    host: str, port: int, message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        listen(host, port)
    assert hint in str(caught.value.hint)


def test_of_an_address_in_use_the_hint_is_another_port() -> None:
    with closing(listen("127.0.0.1", 0)) as first:
        with pytest.raises(UsageError, match="cannot listen on") as caught:
            listen("127.0.0.1", first.getsockname()[1])
        assert caught.value.hint == "end what listens there, or choose another --port"
