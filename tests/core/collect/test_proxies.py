"""A model on the other side of an HTTP proxy: how it is asked, and what is said when the proxy does not let through."""

import asyncio
import socket
from pathlib import Path

import httpx
import pytest

from flywheel_core.collect.addresses import Guard
from flywheel_core.collect.calls import target_of
from flywheel_core.collect.http import Endpoint
from flywheel_core.collect.pool import PooledHttp
from flywheel_core.config import Config, Model
from flywheel_core.errors import ConfigError, ConfigIncompleteError, UpstreamError
from tests.core.collect import outside
from tests.core.collect.outside import Outside
from tests.core.collect.posting import post
from tests.core.collect.proxying import proxy_to

BASIC = "Basic dXNlcjpwYXNzOndvcmQ="
"""user, and pass:word as its password."""


def test_a_plain_address_is_asked_through_the_proxy_with_its_credentials() -> None:
    """The name is known to the proxy alone, and the model does not see the proxy's password."""
    seen: list[outside.Request] = []

    def answer(request: outside.Request) -> outside.Reply:
        seen.append(request)
        return outside.Reply(body=b"[1]")

    async def main() -> None:
        async with Outside() as world:
            world.handlers["/v1"] = answer
            with proxy_to(world.url) as proxy:
                http = PooledHttp()
                endpoint = Endpoint(
                    "http://models.invalid/v1", proxy=f"http://user:pass%3Aword@{proxy.address}"
                )
                assert (await post(http, endpoint)).body == b"[1]"
                await http.close()
                assert proxy.asked == [("POST", "http://models.invalid/v1", BASIC)]
        (request,) = seen
        assert "proxy-authorization" not in request.headers
        assert request.headers["host"] == "models.invalid"

    asyncio.run(main())


def test_https_goes_through_one_tunnel_for_many_calls(tmp_path: Path) -> None:
    server, client = outside.certified(tmp_path, "DNS:models.invalid")

    async def main() -> None:
        async with Outside(server) as world:
            world.handlers["/x"] = lambda _: outside.Reply(body=b"[2]")
            with proxy_to(world.url) as proxy:
                trusting = PooledHttp(client)
                endpoint = Endpoint(
                    "https://models.invalid/x",
                    {"authorization": "Bearer models-key"},
                    proxy=f"http://user:pass%3Aword@{proxy.address}",
                )
                for _ in range(3):
                    assert (await post(trusting, endpoint)).body == b"[2]"
                await trusting.close()
                assert proxy.asked == [("CONNECT", "models.invalid:443", BASIC)]

                doubting = PooledHttp()
                with pytest.raises(httpx.ConnectError, match="certificate"):
                    await post(doubting, endpoint)
                await doubting.close()

    asyncio.run(main())


def test_a_proxy_that_refuses_is_named_as_the_reason() -> None:
    async def main() -> None:
        with proxy_to("http://127.0.0.1:9", "407 Proxy Authentication Required") as proxy:
            http = PooledHttp()
            endpoint = Endpoint("https://models.invalid/x", proxy=f"http://user:s3cret@{proxy.address}")
            with pytest.raises(httpx.ConnectError) as caught:
                await post(http, endpoint)
            await http.close()
        assert str(caught.value) == "no connection: the proxy answered 407"
        assert "s3cret" not in repr(endpoint)

    asyncio.run(main())


def test_a_proxy_that_says_nothing_is_no_connection() -> None:
    """As when it tries to reach a model that is away: the next model should not have to wait for the time of an answer."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            http = PooledHttp()
            proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
            endpoint = Endpoint("https://models.invalid/x", connect_timeout=0.1, proxy=proxy)
            with pytest.raises(httpx.ConnectTimeout):
                await post(http, endpoint)
            await http.close()

    asyncio.run(main())


def test_the_guard_looks_at_the_proxys_address() -> None:
    async def main() -> None:
        http = PooledHttp(guard=Guard())
        with pytest.raises(UpstreamError) as caught:
            await post(http, Endpoint("https://models.invalid/x", proxy="http://169.254.169.254:3128"))
        await http.close()
        assert caught.value.code == "address_blocked"

    asyncio.run(main())


def behind(variable: str) -> Config:
    far = Model(base_url="https://models.invalid", api_path="/api/v3", proxy_env=variable)
    return Config(models={**Config().models, "far": far})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://proxy.invalid:3128", "http://proxy.invalid:3128"),
        ("proxy.invalid:3128", "http://proxy.invalid:3128"),
        ("http://user:s3cret@proxy.invalid:3128/\n", "http://user:s3cret@proxy.invalid:3128/"),
    ],
)
def test_the_proxy_is_what_the_variable_says(given: str, expected: str) -> None:
    endpoint = target_of(behind("HTTPS_PROXY"), "far", {"HTTPS_PROXY": given}).endpoint
    assert (endpoint.url, endpoint.proxy) == (
        "https://models.invalid/api/v3/chat/completions",
        expected,
    )


@pytest.mark.parametrize(
    "given",
    [
        *("socks5://user:s3cret@h:1", "https://s3cret@h:1", "http://", "http://s3cret:x"),
        *("http://us%3Aer:s3cret@h:1", "http://user:s3cret密@h:1", "http://user:s3cret@proxy..example:1"),
    ],
)
def test_what_is_no_address_of_a_proxy_is_refused_without_being_shown(given: str) -> None:
    with pytest.raises(ConfigError, match=r"models\.far\.proxy_env: HTTPS_PROXY does not hold") as caught:
        target_of(behind("HTTPS_PROXY"), "far", {"HTTPS_PROXY": given})
    assert "s3cret" not in str(caught.value)


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(ConfigIncompleteError, match=r"models\.far\.proxy_env names .* HTTPS_PROXY"):
        target_of(behind("HTTPS_PROXY"), "far", {})
