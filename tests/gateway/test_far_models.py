"""Models that are asked in another way: below another path than /v1, through an HTTP proxy, with fields of their own."""

import socket
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.core.collect.proxying import proxy_to
from tests.gateway.scripted import DONE, Arrived, completion, event, reply
from tests.gateway.world import WAIT_SECONDS, NotStartedError, Outside, RunningGateway, until

Start = Callable[..., RunningGateway]

BODY = {"model": "auto", "messages": [{"role": "user", "content": "1 + 1?"}]}


@pytest.mark.parametrize(
    ("api_path", "path"),
    [
        ("/api/v3", "/api/v3/chat/completions"),
        ("/v1beta/openai/", "/v1beta/openai/chat/completions"),
        ("", "/chat/completions"),
    ],
)
def test_users_and_collection_ask_at_the_path_of_the_models_api(
    outside: Outside, start: Start, api_path: str, path: str
) -> None:
    outside.other = lambda asked: reply(completion("far"))
    config = outside.config()
    config["models"]["big"]["api_path"] = api_path
    gateway = start(config)
    assert gateway.post("/v1/chat/completions", BODY).json()["choices"][0]["message"]["content"] == "far"
    (point,) = until(lambda: outside.points)
    assert point["responses"]["big"]["answer"] == "far"
    assert point["responses"]["math"]["answer"] == "I am math"
    asked = outside.asked(path)
    assert [request.json["model"] for request in asked] == ["big"] * len(asked)
    assert outside.asked_by_users() == []


def test_other_paths_go_below_the_path_of_the_default_models_api(outside: Outside, start: Start) -> None:
    outside.other = lambda asked: reply(b'{"data": []}')
    config = outside.config()
    config["models"]["big"]["api_path"] = "/api/v3"
    gateway = start(config)
    assert gateway.post("/v1/embeddings?a=/v1/b", {"input": "x"}).status_code == 200
    assert [request.path for request in outside.server.requests] == ["/api/v3/embeddings?a=/v1/b"]
    refused = gateway.get("/%761/embeddings")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_found")
    assert len(outside.server.requests) == 1


def test_users_and_collection_ask_through_the_proxy_of_each_model(outside: Outside, start: Start) -> None:
    """The scorer, the collector and the models without a proxy are asked directly."""
    config = outside.config()
    config["models"]["big"] |= {"base_url": "http://models.invalid", "proxy_env": "EGRESS"}
    with proxy_to(outside.address) as proxy:
        gateway = start(config, {"EGRESS": f"http://user:s3cret@{proxy.address}"})
        answer = gateway.post("/v1/chat/completions", BODY)
        assert answer.json()["choices"][0]["message"]["content"] == "I am big"
        (point,) = until(lambda: outside.points)
        assert {name: found["answer"] for name, found in point["responses"].items()} == {
            name: f"I am {sent}" for name, sent in (("big", "big"), ("math", "math"), ("code", "code-v2"))
        }
        gateway.post("/v1/embeddings", {"input": "x"})
        assert {(method, target) for method, target, _ in proxy.asked} == {
            ("POST", "http://models.invalid/v1/chat/completions"),
            ("POST", "http://models.invalid/v1/embeddings"),
        }
        assert all(credentials == "Basic dXNlcjpzM2NyZXQ=" for *_, credentials in proxy.asked)
    assert "s3cret" not in gateway.log()


def test_a_stream_through_a_proxy_arrives_piece_by_piece(outside: Outside, start: Start) -> None:
    """The model writes its second piece only once the client has the first."""
    first, second = event("one"), event("two") + DONE
    has_first = threading.Event()

    def written(_: Arrived) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + first
        assert has_first.wait(WAIT_SECONDS)
        yield second
        yield b""

    outside.chat = written
    config = outside.config(data_collection__enabled=False)
    config["models"]["big"] |= {"base_url": "http://models.invalid", "proxy_env": "EGRESS"}
    with proxy_to(outside.address) as proxy:
        gateway = start(config, {"EGRESS": proxy.address})
        whole = b""
        with httpx.stream(
            "POST",
            f"{gateway.address}/v1/chat/completions",
            json={**BODY, "stream": True},
            timeout=WAIT_SECONDS,
        ) as answer:
            for piece in answer.iter_raw():
                whole += piece
                if whole == first:
                    has_first.set()
    assert whole == first + second


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [("https", "connect_failed: no connection: the proxy answered 407"), ("http", "http_status: 407")],
)
def test_a_proxy_that_lets_nobody_through_fails_the_model_and_another_answers(
    outside: Outside, start: Start, scheme: str, reason: str
) -> None:
    config = outside.config(data_collection__enabled=False, routing__fallback_models=["math"])
    config["models"]["big"] |= {"base_url": f"{scheme}://models.invalid", "proxy_env": "EGRESS"}
    with proxy_to(outside.address, "407 Proxy Authentication Required") as proxy:
        gateway = start(config, {"EGRESS": f"http://user:s3cret@{proxy.address}"})
        answer = gateway.post("/v1/chat/completions", BODY)
        named = gateway.post("/v1/chat/completions", {**BODY, "model": "big"})
        other = gateway.post("/v1/embeddings", {"input": "x"})
    assert answer.json()["choices"][0]["message"]["content"] == "I am math"
    assert [refused.status_code for refused in (named, other)] == [502, 502]
    assert {line["reason"] for line in gateway.logged("model_failed")} == {reason}
    assert "s3cret" not in gateway.log()


def test_a_proxy_that_says_nothing_is_no_connection(outside: Outside, start: Start) -> None:
    """As when it tries to reach a model that is away: another model is asked before the time for an answer is up."""
    config = outside.config(data_collection__enabled=False, routing__fallback_models=["math"])
    far = {"base_url": "https://models.invalid", "proxy_env": "EGRESS", "connect_timeout": 0.1}
    config["models"]["big"] |= far
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gateway = start(config, {"EGRESS": f"127.0.0.1:{silent.getsockname()[1]}"})
        answer = gateway.post("/v1/chat/completions", BODY)
    assert answer.json()["choices"][0]["message"]["content"] == "I am math"
    (failed,) = gateway.logged("model_failed")
    assert failed["reason"] == "connect_timeout: no connection within 0.1 s"


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, r"models\.math\.proxy_env names the environment variable EGRESS"),
        ({"EGRESS": "socks5://127.0.0.1:1"}, "EGRESS does not hold the address of an HTTP proxy"),
    ],
)
def test_a_gateway_does_not_start_without_the_proxys_address(
    outside: Outside, start: Start, environment: dict[str, str], says: str
) -> None:
    config = outside.config()
    config["models"]["math"]["proxy_env"] = "EGRESS"
    with pytest.raises(NotStartedError, match=says):
        start(config, environment)


def test_users_and_collection_send_a_models_own_fields(outside: Outside, start: Start) -> None:
    """So one model can be a candidate twice, with and without thinking. The client's other fields stay."""
    config = outside.config(routing__default_model="math")
    config["models"]["math"] |= {"extra_body": {"enable_thinking": True, "effort": {"level": 3}}}
    config["models"]["code"] |= {"extra_body": {"enable_thinking": False}}
    gateway = start(config)
    own = {"temperature": 0.50, "enable_thinking": "as you like", "effort": None}
    gateway.post("/v1/chat/completions", {**BODY, **own})
    until(lambda: outside.points)
    sent = {request.json["model"]: request.json for request in outside.asked()}
    assert {name: body["enable_thinking"] for name, body in sent.items()} == {
        "big": "as you like",
        "math": True,
        "code-v2": False,
    }
    assert {name: body["effort"] for name, body in sent.items()} == {
        "big": None,
        "math": {"level": 3},
        "code-v2": None,
    }
    assert all(body["temperature"] == 0.5 and body["messages"] == BODY["messages"] for body in sent.values())
    assert [request.body.count(b"enable_thinking") for request in outside.asked()] == [1, 1, 1]
