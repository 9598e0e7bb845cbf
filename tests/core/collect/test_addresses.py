"""Blocked addresses are refused in every spelling, in the configuration and when a connection is made."""

import asyncio
import socket

import pytest

from flywheel_core.collect.addresses import BlockedAddressError, Guard, check_address
from flywheel_core.collect.http import Endpoint
from flywheel_core.collect.pool import PooledHttp
from flywheel_core.errors import ConfigError, UpstreamError

METADATA = [
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "::ffff:0:169.254.169.254",
    "::169.254.169.254",
    "2002:a9fe:a9fe::1",
]
SPELLINGS = ["169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "[::ffff:a9fe:a9fe]"]
"""Spellings of one link-local address that may stand as the host of a URL."""


@pytest.mark.parametrize("address", METADATA)
def test_link_local_and_metadata_addresses_need_a_setting(address: str) -> None:
    assert Guard().refusal(address) is not None
    assert Guard(allow_link_local=True).refusal(address) is None


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1"])
def test_addresses_that_are_not_a_single_host_are_never_taken(address: str) -> None:
    assert Guard(allow_link_local=True).refusal(address) is not None


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "fd00::1", "::ffff:192.168.0.1"])
def test_private_addresses_are_taken_unless_told_otherwise(address: str) -> None:
    assert Guard().refusal(address) is None
    assert Guard(allow_private=False).refusal(address) == "the address is private"


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "170.0.0.1", "fec0::1"])
def test_all_others_are_taken(address: str) -> None:
    assert Guard().refusal(address) is None


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_gets_past_the_configuration(spelling: str) -> None:
    with pytest.raises(ConfigError, match=r"models\.x\.base_url.*169\.254\.169\.254.*link-local"):
        check_address("models.x.base_url", f"http://{spelling}:80/", Guard())
    check_address("models.x.base_url", f"http://{spelling}:80/", Guard(allow_link_local=True))


def test_an_address_that_is_no_name_is_said_once() -> None:
    with pytest.raises(ConfigError) as caught:
        check_address("models.x.base_url", "http://169.254.169.254/", Guard())
    assert caught.value.message == (
        "models.x.base_url: 169.254.169.254: the address is link-local or a cloud's metadata service"
    )


@pytest.mark.parametrize("host", ["scorer.invalid", "a" * 64 + ".invalid"])
def test_a_name_that_does_not_resolve_yet_is_a_warning(host: str, caplog: pytest.LogCaptureFixture) -> None:
    """A service may be started before the ones that it asks; every connection is checked again."""
    check_address("models.x.base_url", f"http://{host}/", Guard())
    (warned,) = caplog.records
    assert (warned.message, vars(warned)["setting"], vars(warned)["host"]) == (
        "address_unknown",
        "models.x.base_url",
        host,
    )


def test_what_is_no_address_names_the_setting() -> None:
    with pytest.raises(ConfigError, match=r"models\.x\.base_url: 'http://\[::1' is not an address"):
        check_address("models.x.base_url", "http://[::1", Guard())


@pytest.mark.parametrize("spelling", ["169.254.169.254", "0xa9fea9fe", "[::ffff:a9fe:a9fe]", "[fe80::1]"])
def test_no_spelling_gets_past_a_connection(spelling: str) -> None:
    """The pool of fan-out, scorer and uploads says why; it does not take the other spellings for hosts."""

    async def call() -> None:
        http = PooledHttp()
        try:
            await http.post(Endpoint(f"http://{spelling}/v1"), b"{}", timeout=5, max_bytes=100)
        finally:
            await http.close()

    with pytest.raises(UpstreamError) as caught:
        asyncio.run(call())
    assert caught.value.code == "address_blocked"


def test_no_socket_is_made_for_a_blocked_address() -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))
    with pytest.raises(BlockedAddressError):
        Guard().open_socket(info)
    Guard(allow_link_local=True).open_socket(info).close()
